"""Four 2x2 convolutions against doubling and a 3x3 one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from shadowdiffusion.export.passes import phase_upsample
from tests.export.passes.graphs import Network, kinds, worst_difference


def upsampling(mode: str = "nearest", kernel: int = 3, scale: float = 2, also_read: bool = False) -> onnx.ModelProto:
    """x [N, 3, H, W] -> doubled -> convolution to 5 channels with a bias; y2 reads the doubled image, too."""
    rng = np.random.default_rng(0)
    coordinates = "half_pixel" if mode == "linear" else "asymmetric"
    resize = helper.make_node(
        "Resize",
        ["x", "", "scales"],
        ["up"],
        mode=mode,
        coordinate_transformation_mode=coordinates,
        nearest_mode="floor",
    )
    conv = helper.make_node("Conv", ["up", "w", "b"], ["y"], pads=[kernel // 2] * 4)
    weights = {
        "scales": np.array([1, 1, scale, scale], np.float32),
        "w": rng.standard_normal((5, 3, kernel, kernel)).astype(np.float32),
        "b": rng.standard_normal(5).astype(np.float32),
    }
    outputs = {"y": 5} | ({"y2": 3} if also_read else {})
    nodes = [resize, conv] + ([helper.make_node("Relu", ["up"], ["y2"])] if also_read else [])
    graph = helper.make_graph(
        nodes,
        "up",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", c, "H2", "W2"]) for name, c in outputs.items()],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3), (8, 8)])
def test_every_pixel_is_the_same_at_odd_sizes_and_borders(size: tuple[int, int]) -> None:
    model = upsampling()
    changed = phase_upsample.apply(model)
    onnx.checker.check_model(changed, full_check=True)
    assert kinds(changed) == ["Conv"] * 4 + ["Concat", "DepthToSpace"]
    assert worst_difference(Network(model, {}), changed, 2, *size) < 1e-6


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 32, 16), (2, 16, 48)])
def test_a_whole_denoiser_computes_the_same(denoiser: Network, batch: int, height: int, width: int) -> None:
    changed = phase_upsample.apply(denoiser.model)
    onnx.checker.check_model(changed)
    assert "Resize" in kinds(denoiser.model)
    assert "Resize" not in kinds(changed)
    assert worst_difference(denoiser, changed, batch, height, width) < 1e-5


def test_the_original_is_left_alone() -> None:
    model = upsampling()
    before = model.SerializeToString(deterministic=True)
    phase_upsample.apply(model)
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    "other", [{"mode": "linear"}, {"kernel": 5}, {"kernel": 1}, {"scale": 3}, {"also_read": True}], ids=str
)
def test_what_is_no_doubling_before_one_plain_convolution_stays(other: dict[str, int]) -> None:
    model = upsampling(**other)  # type: ignore[arg-type]
    assert Counter(kinds(phase_upsample.apply(model))) == Counter(kinds(model))


def test_half_precision_weights_stay_half() -> None:
    model = upsampling()
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == "w")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), "w"))
    changed = phase_upsample.apply(model)
    types = {tensor.name: tensor.data_type for tensor in changed.graph.initializer}
    assert types.pop("b") == TensorProto.FLOAT
    assert set(types.values()) == {TensorProto.FLOAT16}
