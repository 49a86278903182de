"""Winograd's products against the convolutions that they replace."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from shadowdiffusion.export.passes import winograd
from tests.export.passes.graphs import Network, kinds, worst_difference

SIZES = [(1, 1), (1, 7), (5, 3), (8, 8), (10, 13), (33, 4)]


@pytest.fixture
def few_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "CHANNELS", 1)


def convolution(
    doubled: bool = False, bias: bool = True, channels: int = 3, attributes: dict[str, list[int]] | None = None
) -> onnx.ModelProto:
    """x [N, channels, H, W] -> doubled or not -> convolution to 5 channels."""
    rng = np.random.default_rng(0)
    weights = {
        "scales": np.array([1, 1, 2, 2], np.float32),
        "w": rng.standard_normal((5, channels, 3, 3)).astype(np.float32),
        "b": rng.standard_normal(5).astype(np.float32),
    }
    resize = helper.make_node(
        "Resize",
        ["x", "", "scales"],
        ["up"],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    inputs = ["up" if doubled else "x", "w", *(["b"] if bias else [])]
    conv = helper.make_node("Conv", inputs, ["y"], **({"pads": [1, 1, 1, 1]} | (attributes or {})))  # type: ignore[arg-type]
    graph = helper.make_graph(
        [*([resize] if doubled else []), conv],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", channels, "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5, "H2", "W2"])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_a_tile_is_a_correlation() -> None:
    """Lavin and Gray's identity in one dimension, in float64."""
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal(6), rng.standard_normal(3)
    y = winograd.A_T @ ((winograd.G @ w) * (winograd.B_T @ x))
    assert np.allclose(y, np.correlate(x, w, "valid"), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("doubled", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bias", [False, True])
def test_every_pixel_is_the_same(few_channels: None, size: tuple[int, int], doubled: bool, bias: bool) -> None:
    model = convolution(doubled, bias)
    changed = winograd.apply(model)
    onnx.checker.check_model(changed, full_check=True)
    assert not {"Conv", "Resize"} & {*kinds(changed)}
    assert worst_difference(Network(model, {}), changed, 2, *size) < 2e-6


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 32, 16), (2, 16, 48)])
def test_a_whole_denoiser_computes_the_same(
    few_channels: None, denoiser: Network, batch: int, height: int, width: int
) -> None:
    changed = winograd.apply(denoiser.model)
    onnx.checker.check_model(changed)
    assert Counter(kinds(changed))["Conv"] < Counter(kinds(denoiser.model))["Conv"] / 2
    assert "Resize" not in kinds(changed)
    assert worst_difference(denoiser, changed, batch, height, width) < 1e-5


def test_few_channels_stay() -> None:
    assert kinds(winograd.apply(convolution())) == ["Conv"]
    wide = winograd.CHANNELS * 100
    assert kinds(winograd.apply(convolution(channels=wide))) == ["Conv"]  # five channels out do not pay


@pytest.mark.parametrize(
    "attributes", [{"strides": [2, 2]}, {"dilations": [2, 2]}, {"pads": [0, 0, 0, 0]}, {"pads": [1, 1, 0, 0]}], ids=str
)
def test_other_convolutions_stay(few_channels: None, attributes: dict[str, list[int]]) -> None:
    assert kinds(winograd.apply(convolution(attributes=attributes))) == ["Conv"]


def test_half_precision_kernels_stay(few_channels: None) -> None:
    model = convolution()
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == "w")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), "w"))
    assert kinds(winograd.apply(model)) == ["Conv"]


def test_the_original_is_left_alone(few_channels: None) -> None:
    model = convolution(doubled=True)
    before = model.SerializeToString(deterministic=True)
    winograd.apply(model)
    assert model.SerializeToString(deterministic=True) == before
