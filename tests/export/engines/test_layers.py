"""Layers and their cost, from graphs whose cost can be worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from shadowdiffusion.export.engines.layers import Layer, heaviest, layers, read_layers, summary, write_layers
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.precision.mixed import mixed_graph
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.training.checkpoint import Model


def graph(nodes: list[Any], channels: int = 4, **weights: Any) -> onnx.ModelProto:
    """image float32[N, 4, H, W] -> y."""
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "test",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", channels, "8*h", "8*w"])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    return model


def floats(*shape: int) -> Any:
    return np.ones(shape, np.float32)


def test_a_convolution_is_counted_by_hand() -> None:
    node = helper.make_node("Conv", ["image", "w", "b"], ["y"], "conv", group=2, pads=[1] * 4, strides=[2, 2])
    (layer,) = layers(graph([node], w=floats(6, 2, 3, 3), b=floats(6)), 2, 16, 32)
    moved = 4 * (2 * 4 * 16 * 32 + 6 * 2 * 9 + 6 + 2 * 6 * 8 * 16)
    assert layer == Layer("conv", "Conv", "fp32", [2, 6, 8, 16], 2 * 6 * 8 * 16 * 2 * 9, moved)


def test_products_are_counted_by_the_length_they_sum_over() -> None:
    nodes = [
        helper.make_node("Reshape", ["image", "rows"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["wide"]),
        helper.make_node("ConvTranspose", ["image", "up"], ["large"], strides=[2, 2]),
        helper.make_node("Gemm", ["wide", "g"], ["y"], transA=1),
    ]
    model = graph(nodes, rows=np.array([-1, 8]), w=floats(8, 5), up=floats(4, 3, 2, 2), g=floats(64, 7))
    found = {layer.operator: layer for layer in layers(model, 1, 8, 16)}
    assert found["MatMul"].macs == 64 * 5 * 8
    assert found["Gemm"].macs == 5 * 7 * 64
    assert found["ConvTranspose"].macs == 3 * 16 * 32 * 4  # every output pixel has 4 inputs and 1 of 4 kernel elements
    assert (found["Reshape"].macs, found["Reshape"].bytes) == (0, 0)


def test_shapes_are_followed_through_their_own_arithmetic() -> None:
    """Nodes that only compute shapes are no layers, but what they say is known."""
    nodes = [
        helper.make_node("Shape", ["image"], ["n"], start=0, end=1),
        helper.make_node("Concat", ["n", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["image", "target"], ["rows"]),
        helper.make_node("Exp", ["rows"], ["y"]),
    ]
    found = layers(graph(nodes, rest=np.array([4, -1])), 3, 8, 24)
    assert [(layer.operator, layer.shape) for layer in found] == [
        ("Reshape", [3, 4, 192]),
        ("Exp", [3, 4, 192]),
    ]


def test_quantised_products_count_what_they_compute_in() -> None:
    scale, zero = np.float32(0.1), np.int8(0)
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["weights"]),
        helper.make_node("Conv", ["x", "weights"], ["c"]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    model = graph(nodes, scale=scale, zero=zero, w=np.ones((5, 4, 1, 1), np.int8))
    found = {layer.operator: layer for layer in layers(model, 1, 8, 8)}
    assert found["Conv"].precision == "int8"
    assert found["Conv"].bytes == 4 * 64 + 20 + 4 * 5 * 64
    assert found["Relu"].precision == "fp32"


@pytest.mark.parametrize(("name", "part"), [("denoiser.onnx", "denoiser"), ("prior.onnx", "prior")])
def test_a_real_network_costs_what_its_modules_cost(plain: Bundle, model: Model, name: str, part: str) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    height, width = 32, 48
    image, mask = torch.rand(2, 3, height, width), torch.rand(2, 1, height, width)
    arguments = (image, mask) if part == "prior" else (image, mask, image, torch.zeros(2))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        getattr(model, part)(*arguments)
    counted = counter.get_flop_counts()["Global"][torch.ops.aten.convolution] // 2  # a multiplication and an addition
    exported = onnx.load_model(plain.path / name)
    found = layers(exported, 2, height, width)
    assert sum(layer.macs for layer in found if layer.operator == "Conv") == counted
    mixed = layers(mixed_graph(exported), 2, height, width)
    assert {layer.precision for layer in mixed if layer.operator == "Conv"} == {"fp16"}
    assert sum(layer.macs for layer in mixed) == sum(layer.macs for layer in found)
    assert sum(layer.bytes for layer in mixed if layer.operator == "Conv") * 2 == sum(
        layer.bytes for layer in found if layer.operator == "Conv"
    )


def test_a_summary_loses_nothing(bundle: Bundle) -> None:
    found = layers(mixed_graph(onnx.load_model(bundle.path / "denoiser.onnx")), 1, 32, 32)
    groups = summary(found)
    assert groups[0].operator == "Conv"
    assert [group.macs for group in groups] == sorted((group.macs for group in groups), reverse=True)
    for field in ("macs", "bytes"):
        assert sum(getattr(group, field) for group in groups) == sum(getattr(layer, field) for layer in found)
    assert sum(group.count for group in groups) == len(found)
    top = heaviest(found, 3)
    assert len(top) == 3
    assert top[0].macs == max(layer.macs for layer in found)


@pytest.mark.parametrize("operator", ["MatMul", "Mystery"])
def test_what_cannot_be_inferred_is_an_error_and_leaves_no_file(
    operator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    node = helper.make_node(operator, ["image", "w"], ["y"], domain="" if operator == "MatMul" else "nobody")
    model = graph([node], w=floats(5, 3))
    model.opset_import.append(helper.make_opsetid("nobody", 1))
    with pytest.raises(ExportError, match=r"shapes? .*in test (cannot be inferred|is unknown)"):
        layers(model, 1, 8, 8)
    assert not list(tmp_path.iterdir())


def test_layers_are_stored_and_read_back(tmp_path: Path) -> None:
    stored = {"prior.onnx": [Layer("conv", "Conv", "fp16", [1, 2], 3, 4)]}
    write_layers(tmp_path, stored)
    assert read_layers(tmp_path) == stored
    (tmp_path / "layers.json").write_text('{"prior.onnx": [{"name": 1}]}')
    with pytest.raises(ExportError, match=r"layers\.json does not list the layers"):
        read_layers(tmp_path)
    with pytest.raises(ExportError, match="No such file"):
        read_layers(tmp_path / "absent")
