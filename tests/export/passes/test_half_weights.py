"""Half-precision weights: what they save and what they may cost."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from shadowdiffusion.export.passes.half_weights import LARGE, apply, round_weights, rounded_model
from shadowdiffusion.export.verify import snr
from shadowdiffusion.training.checkpoint import Model


def tiny_graph(weights: np.ndarray) -> onnx.ModelProto:
    """x[1, n] @ weights[n, 1]."""
    count = len(weights)
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "tiny",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, count])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])],
            [numpy_helper.from_array(weights, "w")],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )


def test_stored_weights_are_within_half_a_unit_in_the_last_place() -> None:
    weights = np.random.default_rng(0).normal(0, 0.05, (LARGE, 1)).astype(np.float32)
    proto = tiny_graph(weights)
    proto = apply(proto)
    onnx.checker.check_model(proto)
    stored = numpy_helper.to_array(proto.graph.initializer[0])
    assert stored.dtype == np.float16
    # relative 2^-11 for normal float16, absolute 2^-25 below
    assert np.all(np.abs(stored - weights.astype(np.float64)) <= np.maximum(np.abs(weights) * 2**-11, 2**-25))


@pytest.mark.parametrize(
    "weights",
    [
        np.full((LARGE - 1, 1), 0.3, np.float32),  # too small a tensor to be worth a Cast
        np.full((LARGE, 1), 1e5, np.float32),  # beyond the largest float16
        np.full((LARGE, 1), 1e-6, np.float32),  # all below the normal range: a few bits would be left
        np.zeros((LARGE, 1), np.float32),
        np.ones((LARGE, 1), np.int64),  # not a weight
    ],
    ids=["few", "large", "subnormal", "zero", "integer"],
)
def test_tensors_that_do_not_suit_half_precision_stay(weights: np.ndarray) -> None:
    proto = tiny_graph(weights)
    assert apply(proto).SerializeToString() == proto.SerializeToString()


def test_rounded_module_and_halved_file_are_the_same_function(model: Model, graphs: dict[str, ModelProto]) -> None:
    proto = graphs["denoiser"]
    full = proto.ByteSize()
    proto = apply(proto)
    assert proto.ByteSize() < 0.75 * full  # the graph itself is a large part of so small a network
    rounded, original = copy.deepcopy(model.denoiser), model.denoiser
    assert rounded is not None
    assert original is not None
    round_weights(rounded)
    generator = torch.Generator().manual_seed(0)
    y, noisy = torch.rand(2, 1, 3, 32, 48, generator=generator)
    mask, t = torch.rand(1, 1, 32, 48, generator=generator), torch.tensor([200.0])
    with torch.no_grad():
        same, before = rounded(y, mask, noisy, t)[0].numpy(), original(y, mask, noisy, t)[0].numpy()
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {"image": y, "mask": mask, "x_t": noisy, "t": t}
    result = session.run(["noise"], {key: value.numpy() for key, value in feed.items()})[0]
    assert snr(result, same) > 100  # exact but for the order of sums
    assert 55 < snr(result, before) < 100  # and the rounding is really there, at about 2^-11 per weight


def test_rounding_leaves_the_callers_model_alone(model: Model) -> None:
    assert model.denoiser is not None
    before = {name: value.clone() for name, value in model.denoiser.state_dict().items()}
    changed = rounded_model(model).denoiser
    assert changed is not None
    assert all(torch.equal(before[name], value) for name, value in model.denoiser.state_dict().items())
    assert not all(torch.equal(before[name], value) for name, value in changed.state_dict().items())
