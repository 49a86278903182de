"""The mixed graph: which values are half precision."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes import half_weights
from shadowdiffusion.export.precision.mixed import Kind, float32_layers, half_values, mixed_graph, single_graph
from shadowdiffusion.runtime.bundle.folder import Bundle

F16, BF16, F32 = TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT


def graph(nodes: list[Any], weights: dict[str, Any], outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
    """x float32[1, 4, H, W] -> outputs of the same rank."""
    shape: list[int | str] = [1, 4, "H", "W"]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "test",
            [helper.make_tensor_value_info("x", F32, shape)],
            [helper.make_tensor_value_info(name, F32, [1, 4, f"h{name}", f"w{name}"]) for name in outputs],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def weight(seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(0, 0.3, (4, 4, 1, 1)).astype(np.float32)


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every value."""
    inferred = shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*inferred.input, *inferred.output, *inferred.value_info)
    known = {value.name: value.type.tensor_type.elem_type for value in values}
    return known | {tensor.name: tensor.data_type for tensor in inferred.initializer}


def run(model: onnx.ModelProto, x: Any) -> list[Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": x}))


@pytest.mark.parametrize("name", ["denoiser.onnx", "prior.onnx"])
@pytest.mark.parametrize(("kind", "low"), [("fp16", F16), ("bf16", BF16)])
def test_products_are_half_and_statistics_are_single(bundle: Bundle, name: str, kind: Kind, low: int) -> None:
    original = onnx.load_model(bundle.path / name)
    mixed = mixed_graph(original, kind)
    onnx.checker.check_model(mixed, full_check=True)
    kinds = types(mixed)
    statistics = {"InstanceNormalization", "LayerNormalization", "ReduceMean", "Softmax"}
    precise = statistics | {"Pow", "Log", "Exp", "Sin", "Cos"}
    seen = Counter[str]()
    for node in mixed.graph.node:
        floats = {kinds[value] for value in (*node.input, *node.output) if kinds.get(value) in (F16, BF16, F32)}
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            assert floats == {low}, node.name
        elif node.op_type in precise:
            assert floats == {F32}, node.name
        seen[node.op_type] += 1
    assert seen["Conv"] > 5
    assert precise & seen.keys()
    for value in (*mixed.graph.input, *mixed.graph.output):
        assert value.type.tensor_type.elem_type == F32
    assert [value.name for value in mixed.graph.output] == [value.name for value in original.graph.output]


def test_input_that_is_half_already_stays_half_and_single_stays_single() -> None:
    model = graph(
        [
            helper.make_node("Add", ["x", "one"], ["shifted"]),  # reads the float32 input
            helper.make_node("Conv", ["shifted", "w"], ["a"]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Add", ["b", "shifted"], ["c"]),  # half and single: single
            helper.make_node("Add", ["a", "b"], ["d"]),
            helper.make_node("Conv", ["d", "w"], ["y"]),
            helper.make_node("Conv", ["c", "w"], ["z"]),
        ],
        {"w": weight(), "one": np.float32(1)},
        ("y", "z"),
    )
    mixed = mixed_graph(model)
    kinds = types(mixed)
    assert {name: kinds[name] for name in "abcd"} == {"a": F16, "b": F16, "c": F32, "d": F16}
    assert set(half_values(mixed)) >= {"a", "b", "d"}
    assert kinds["shifted"] == F32
    assert Counter(node.op_type for node in mixed.graph.node)["Cast"] == 5  # into a, b up, c down, y and z back
    x = np.random.default_rng(1).random((1, 4, 5, 7), np.float32)
    for half, single in zip(run(mixed, x), run(model, x), strict=True):
        assert half.dtype == np.float32
        np.testing.assert_allclose(half, single, atol=5e-3)


def test_an_output_that_is_also_read_inside_is_cast_once() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"]), helper.make_node("Exp", ["y"], ["z"])]
    mixed = mixed_graph(graph(nodes, {"w": weight()}, ("y", "z")))
    onnx.checker.check_model(mixed, full_check=True)
    assert types(mixed)["y"] == types(mixed)["z"] == F32


def test_kept_layers_stay_single(bundle: Bundle) -> None:
    original = onnx.load_model(bundle.path / "denoiser.onnx")
    layers = [node.name for node in original.graph.node if node.op_type == "Conv"]
    mixed = mixed_graph(original, "fp16", frozenset(layers[2:5]))
    onnx.checker.check_model(mixed, full_check=True)
    assert float32_layers(mixed) == layers[2:5]
    weights = {node.name: node.input[1] for node in mixed.graph.node if node.op_type == "Conv"}
    kinds = types(mixed)
    assert {name for name, weight in weights.items() if kinds[weight] == F32} == set(layers[2:5])


def test_bfloat16_holds_what_float16_cannot() -> None:
    model = graph([helper.make_node("Conv", ["x", "w"], ["y"])], {"w": weight() * np.float32(1e6)})
    assert types(mixed_graph(model, "bf16"))["w.half"] == BF16


@pytest.mark.parametrize("scale", [1e6, 1e-6])
def test_weights_beyond_float16_keep_their_node_in_single(scale: float) -> None:
    model = graph([helper.make_node("Conv", ["x", "w"], ["y"])], {"w": weight() * np.float32(scale)})
    mixed = mixed_graph(model)
    assert not half_values(mixed)
    x = np.random.default_rng(1).random((1, 4, 5, 7), np.float32)
    np.testing.assert_array_equal(run(mixed, x)[0], run(model, x)[0])


def test_zero_weights_are_half(bundle: Bundle) -> None:
    mixed = mixed_graph(graph([helper.make_node("Conv", ["x", "w"], ["y"])], {"w": 0 * weight()}))
    assert [node.op_type for node in mixed.graph.node] == ["Cast", "Conv", "Cast"]


def test_scales_of_a_resize_stay_single() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Resize", ["a", "", "scales"], ["b"], mode="nearest"),
        helper.make_node("Conv", ["b", "w"], ["y"]),
    ]
    mixed = mixed_graph(graph(nodes, {"w": weight(), "scales": np.array([1, 1, 2, 2], np.float32)}))
    onnx.checker.check_model(mixed, full_check=True)
    assert (types(mixed)["b"], types(mixed)["scales"]) == (F16, F32)


def test_weights_stored_as_float16_are_unfolded_exactly(bundle: Bundle) -> None:
    stored = half_weights.apply(onnx.load_model(bundle.path / "denoiser.onnx"))
    single = single_graph(stored)
    onnx.checker.check_model(single, full_check=True)
    assert not [tensor for tensor in single.graph.initializer if tensor.data_type == F16]
    names = {tensor.name: numpy_helper.to_array(tensor) for tensor in single.graph.initializer}
    for tensor in stored.graph.initializer:
        if tensor.data_type == F16:
            values = numpy_helper.to_array(tensor)
            np.testing.assert_array_equal(names[tensor.name.removesuffix(".half")], values.astype(np.float32))
    assert mixed_graph(stored).ByteSize() < 0.75 * single.ByteSize()


def test_the_given_model_is_left_alone(bundle: Bundle) -> None:
    model = onnx.load_model(bundle.path / "denoiser.onnx")
    before = model.SerializeToString(deterministic=True)
    mixed_graph(model)
    assert model.SerializeToString(deterministic=True) == before


def test_control_flow_is_refused() -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["inner"])], "b", [], [helper.make_tensor_value_info("inner", F32, None)]
    )
    node = helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)
    with pytest.raises(ExportError, match=r"graph inside.*--precision fp32"):
        mixed_graph(graph([node], {"yes": np.array(True)}))
