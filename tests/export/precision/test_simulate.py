"""The simulation rounds exactly where the graph in half precision does."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

from shadowdiffusion.export.photos import verification_samples
from shadowdiffusion.export.precision.mixed import Kind, mixed_graph, single_graph
from shadowdiffusion.export.precision.networks import session
from shadowdiffusion.export.precision.simulate import TOTAL, simulated
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.bundle.time_table import read_rows
from tests.export.precision.test_mixed import graph, weight


def feed_of(bundle: Bundle, name: str) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    if name == "prior.onnx":
        # of noise without any shadow's border both precisions say the same: no shadow
        image = verification_samples((), bundle.manifest.model.multiple, side=96)[0].image
        return {"image": image, "mask": np.full_like(image[:, :1], 0.5)}
    feed = {"image": rng.random((1, 3, 32, 48), np.float32), "mask": rng.random((1, 1, 32, 48), np.float32)}
    rows = read_rows(bundle)
    assert rows is not None
    return feed | {"x_t": rng.standard_normal((1, 3, 32, 48)).astype(np.float32), "row": rows[5:6]}


def run_node_by_node(model: onnx.ModelProto, feed: dict[str, Any]) -> dict[str, Any]:
    """Every value of the graph, each node run alone: between nodes, ONNX Runtime cannot leave a rounding out."""
    inferred = shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*inferred.input, *inferred.output, *inferred.value_info)
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    known = dict(feed) | {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    kinds |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    for node in model.graph.node:
        given = list(dict.fromkeys(name for name in node.input if name))
        inputs = [helper.make_tensor_value_info(name, kinds[name], known[name].shape) for name in given]
        outputs = [helper.make_tensor_value_info(name, kinds[name], None) for name in node.output if name]
        alone = helper.make_model(
            helper.make_graph([node], "node", inputs, outputs), opset_imports=model.opset_import, ir_version=10
        )
        running = onnxruntime.InferenceSession(alone.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found = running.run(None, {name: known[name] for name in given})
        known |= dict(zip([value.name for value in outputs], found, strict=True))
    return known


@pytest.mark.parametrize("name", ["denoiser.onnx", "prior.onnx"])
def test_simulation_of_float16_is_the_float16_graph(bundle: Bundle, name: str) -> None:
    mixed, feed = mixed_graph(onnx.load_model(bundle.path / name)), feed_of(bundle, name)
    outputs = [value.name for value in mixed.graph.output]
    real = run_node_by_node(mixed, feed)
    for found, output in zip(session(simulated(mixed), optimized=False).run(outputs, feed), outputs, strict=True):
        np.testing.assert_array_equal(found, real[output])
    single = session(single_graph(onnx.load_model(bundle.path / name))).run(outputs, feed)
    assert not any(np.array_equal(real[output], values) for output, values in zip(outputs, single, strict=True))


@pytest.mark.parametrize(("kind", "bits"), [("fp16", 11), ("bf16", 8)])
def test_every_result_is_rounded_once(kind: Kind, bits: int) -> None:
    model = graph([helper.make_node("Conv", ["x", "w"], ["y"])], {"w": weight()})
    x = np.random.default_rng(1).random((1, 4, 5, 7), np.float32)

    def rounded(values: Any) -> Any:
        mantissa, exponent = np.frexp(values.astype(np.float64))
        return np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits).astype(np.float32)

    (found,) = session(simulated(mixed_graph(model, kind)), optimized=False).run(["y"], {"x": x})
    exact = np.einsum("oi,nihw->nohw", rounded(weight())[:, :, 0, 0].astype(np.float64), rounded(x))
    np.testing.assert_array_equal(found, rounded(exact.astype(np.float32)))


@pytest.mark.parametrize(("kind", "finite"), [("fp16", False), ("bf16", True)])
def test_overflow_that_the_next_operator_hides_is_seen(kind: Kind, finite: bool) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"]), helper.make_node("Sigmoid", ["a"], ["y"])]
    simulation = simulated(mixed_graph(graph(nodes, {"w": np.full((4, 4, 1, 1), 3e4, np.float32)}), kind))
    x = np.ones((1, 4, 5, 7), np.float32)
    y, total = session(simulation, optimized=False).run(["y", TOTAL], {"x": x})
    assert np.isfinite(y).all()
    assert bool(np.isfinite(total)) is finite


def test_a_float32_graph_is_left_as_it_is(bundle: Bundle) -> None:
    model = single_graph(onnx.load_model(bundle.path / "prior.onnx"))
    same = simulated(model)
    assert [value.name for value in same.graph.output] == ["clean", "matte"]
    assert len(same.graph.node) == len(model.graph.node)
    assert TensorProto.FLOAT16 not in {tensor.data_type for tensor in same.graph.initializer}
