"""Folding and dead code: fewer nodes, the same function."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper

from shadowdiffusion.export.passes import fold
from shadowdiffusion.runtime.bundle.folder import DEFAULT_BUNDLE
from tests.export.conftest import images, run


def model() -> ModelProto:
    """y = x * (2 + 3), beside a branch that nothing reads."""
    nodes = [
        helper.make_node("Add", ["two", "three"], ["five"]),
        helper.make_node("Mul", ["x", "five"], ["y"]),
        helper.make_node("Mul", ["x", "unread"], ["dead"]),
    ]
    values = {"two": 2.0, "three": 3.0, "unread": 7.0}
    weights = [numpy_helper.from_array(np.full((1, 4), value, np.float32), name) for name, value in values.items()]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in "xy")
    opsets = [helper.make_opsetid("", 18)]
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], weights), opset_imports=opsets, ir_version=10)


def test_constants_are_folded_and_dead_nodes_dropped() -> None:
    folded = fold.apply(model())
    onnx.checker.check_model(folded, full_check=True)
    assert [node.op_type for node in folded.graph.node] == ["Mul"]
    assert not [tensor for tensor in folded.graph.initializer if tensor.name == "unread"]
    session = onnxruntime.InferenceSession(folded.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], 5 * x)


def test_the_original_is_left_alone() -> None:
    original = model()
    before = original.SerializeToString()
    fold.apply(original)
    fold.drop_dead(original)
    assert original.SerializeToString() == before


def test_the_shipped_networks_stay_the_same_functions() -> None:
    rng = np.random.default_rng(0)
    rows = np.load(DEFAULT_BUNDLE / "denoiser.rows.npy")
    whole = images(1, 64, 96)
    feeds = {
        "prior.onnx": {name: whole[name] for name in ("image", "mask")},
        "denoiser.onnx": whole | {"row": rows[5, None]},
        "mask_head.onnx": {"features": rng.standard_normal((1, 32, 32, 48)).astype(np.float32)},
    }
    for name, feed in feeds.items():
        original = onnx.load_model(DEFAULT_BUNDLE / name)
        expected, found = run(original, feed), run(fold.apply(original), feed)
        for key, values in expected.items():
            np.testing.assert_array_equal(found[key], values)
