"""`debug` finds a planted bad layer by running the graphs for real, and names the layers that must go back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import ModelProto, TensorProto, helper, numpy_helper

from shadowdiffusion.export.precision.mixed import LAYERS, mixed_graph, single_graph
from shadowdiffusion.runtime.bundle.folder import DENOISER, Bundle, hash_files, write_manifest
from tests.export.command_line import assert_refused, call
from tests.export.precision.test_gate import plant, scale
from tests.runtime.engine_folders import add_engine
from tests.runtime.tiny import write_bundle

pytest.importorskip("polygraphy")
debugging: Any = pytest.importorskip("shadowdiffusion.export.debugging")


def small(layers: int = 5) -> ModelProto:
    """Convolutions of 4 channels with a ReLU behind each: conv0, relu0, conv1 and so on."""
    rng = np.random.default_rng(2)
    nodes, weights, last = [], [], "x"
    for i in range(layers):
        weights.append(numpy_helper.from_array(rng.standard_normal((4, 4, 3, 3), np.float32) / 6, f"w{i}"))
        nodes.append(helper.make_node("Conv", [last, f"w{i}"], [f"c{i}"], name=f"conv{i}", pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], name=f"relu{i}"))
        last = f"r{i}"
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4, "h", "w"]) for name in ("x", last)]
    graph = helper.make_graph(nodes, "small", values[:1], values[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def feeds() -> list[dict[str, Any]]:
    rng = np.random.default_rng(4)
    return [{"x": rng.standard_normal((1, 4, 12, 16), np.float32)} for _ in range(2)]


def test_every_value_of_equal_graphs_agrees() -> None:
    found = debugging.departures("small", small(), small(), feeds())
    assert [each.layer for each in found] == [f"{kind}{i}" for i in range(5) for kind in ("conv", "relu")]
    assert all(each.snr == each.inputs == debugging.MOST_DB for each in found)


@pytest.mark.parametrize("bad", [0, 2, 4])
def test_the_planted_layer_is_the_first_that_departs(bad: int) -> None:
    wrong = mixed_graph(small(), "fp16")
    tensor = next(tensor for tensor in wrong.graph.initializer if tensor.name.startswith(f"w{bad}"))
    values = numpy_helper.to_array(tensor).copy()
    values[1] *= np.asarray(1.5, values.dtype)  # one channel of four
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    found = debugging.departures("small", small(), wrong, feeds())
    first = next(each for each in found if each.operator in LAYERS and each.snr < debugging.LEAST["fp16"])
    assert first.layer == f"conv{bad}"
    assert first.inputs > 50  # it is the cause itself
    assert first.snr < 20
    before = [each for each in found if each.operator in LAYERS][:bad]
    assert all(each.snr > 50 for each in before)


def test_values_of_another_shape_or_that_are_zero_are_not_compared() -> None:
    dead, other = small(2), small(2)
    scale(dead, "w1", 0.0)
    other.graph.node[0].attribute[0].ints[:] = [0, 0, 0, 0]
    assert [each.layer for each in debugging.departures("small", dead, dead, feeds())] == ["conv0", "relu0"]
    assert debugging.departures("small", small(2), other, feeds()) == []


@pytest.fixture(scope="module")
def overflowing(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with a layer whose sums float16 does not hold: the same function in float32."""
    path = Path(shutil.copytree(bundle.path, tmp_path_factory.mktemp("debug") / "b"))
    graph = single_graph(onnx.load_model(path / DENOISER))
    plant(graph, "middle.0.conv1.weight", 1e5)
    onnx.save_model(graph, path / DENOISER)
    write_manifest(path, replace(bundle.manifest, files=hash_files(path)))
    return path


def test_the_command_names_the_layer_that_overflows_and_puts_it_back(overflowing: Path) -> None:
    result = call("debug", overflowing, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    graph = onnx.load_model(overflowing / DENOISER)
    bad = next(node for node in graph.graph.node if "middle.0.conv1.weight" in node.input)
    assert (found["first"]["network"], found["first"]["layer"]) == (DENOISER, bad.name)
    assert (found["first"]["operator"], found["first"]["snr"]) == ("Conv", None)
    assert found["first"]["inputs"] > debugging.LEAST["fp16"]
    assert bad.name in found["kept_in_fp32"][DENOISER]  # random weights need others too
    assert found["search"] is None


def test_sound_graphs_need_no_search(bundle: Bundle) -> None:
    result = call("debug", bundle.path, "--precision", "bf16")
    assert result.exit_code == 0, result.output
    assert "no layer departs" in result.stdout
    assert "back to float32" not in result.stdout
    strict = call("debug", bundle.path, "--precision", "bf16", "--least", "90", "--no-search")
    assert "first: prior.onnx, Conv " in strict.stdout
    assert strict.stdout.count("worst: ") == debugging.WORST


def test_what_cannot_be_compared_is_refused_in_one_line(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b", golden=True)
    assert_refused(call("debug", path, "--engine", "absent"), "no engine absent", "it has: none")
    name = add_engine(path, backend="cpu-kernels", provider="cpu", sm=[])
    assert_refused(call("debug", path, "--engine", name), "no ONNX graph", "export verify")
    assert name in call("debug", path, "--engine", "absent").stderr
