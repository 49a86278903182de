"""The accuracy gate: what passes, which layers are put back, and that nothing broken gets through."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from shadowdiffusion.export.commands.console import quiet_bar
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.photos import Sample, golden_sample, verification_samples
from shadowdiffusion.export.precision.gate import Candidate, Judge, Passed, all_layers, pass_gate
from shadowdiffusion.export.precision.mixed import Kind, mixed_graph, single_graph
from shadowdiffusion.export.precision.networks import session
from shadowdiffusion.runtime.bundle.folder import NETWORKS, Bundle
from shadowdiffusion.runtime.bundle.time_table import read_rows
from shadowdiffusion.runtime.selection.tolerances import Decibels

Graphs = dict[str, onnx.ModelProto]
ANYTHING = Decibels(*[-math.inf] * len(Decibels._fields))


@pytest.fixture
def graphs_of(bundle: Bundle) -> Graphs:
    return {name: single_graph(onnx.load_model(bundle.path / name)) for name in NETWORKS}


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return verification_samples((), 16, side=48)[:1]


def judge_of(bundle: Bundle, graphs: Graphs, samples: list[Sample]) -> Judge:
    return Judge(bundle, {name: session(graph) for name, graph in graphs.items()}, read_rows(bundle), samples)


def gate(
    bundle: Bundle,
    graphs: Graphs,
    samples: list[Sample],
    least: float,
    kind: Kind = "fp16",
    said: Any = None,
    needed: Decibels = ANYTHING,
) -> Passed:
    def make(network: str, keep: frozenset[str]) -> onnx.ModelProto:
        return mixed_graph(graphs[network], kind, keep)

    candidate = Candidate(kind, all_layers(graphs), make, simulated=True)
    report = (said if said is not None else []).append
    judge = judge_of(bundle, graphs, samples)
    return pass_gate(candidate, judge, golden_sample((), 16), needed._replace(image=least), report, quiet_bar)


def scale(graph: onnx.ModelProto, name: str, factor: float) -> None:
    tensor = next(tensor for tensor in graph.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), name))


def plant(graph: onnx.ModelProto, weights: str, factor: float) -> None:
    """Multiply what a convolution returns, and divide it again behind: the same function with huge values inside."""
    nodes = list(graph.graph.node)
    at = next(index for index, node in enumerate(nodes) if weights in node.input)
    conv = nodes[at]
    scale(graph, weights, factor)
    scale(graph, conv.input[2], factor)
    output, conv.output[0] = conv.output[0], "huge"
    graph.graph.initializer.append(numpy_helper.from_array(np.array(1 / factor, np.float32), "back"))
    nodes.insert(at + 1, helper.make_node("Mul", ["huge", "back"], [output], name="back"))
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def test_a_sound_network_passes_whole(bundle: Bundle, graphs_of: Graphs, samples: list[Sample]) -> None:
    cases: tuple[tuple[Kind, float], ...] = (("fp16", 50.0), ("bf16", 30.0))
    for kind, least in cases:
        said: list[str] = []
        passed = gate(bundle, graphs_of, samples, least, kind, said)
        assert passed.kept == []
        assert least < passed.score.image < 150
        assert len(said) == 2
        assert f"{kind}: image {passed.score.image:.1f}, noise {passed.score.noise:.1f}, " in said[1]


def test_the_layer_that_overflows_is_put_back_alone(bundle: Bundle, graphs_of: Graphs, samples: list[Sample]) -> None:
    plant(graphs_of["denoiser.onnx"], "middle.0.conv1.weight", 1e5)  # each weight fits float16, their sums do not
    said: list[str] = []
    passed = gate(bundle, graphs_of, samples, 50.0, said=said)
    assert [layer.weights for layer in passed.kept] == ["middle.0.conv1.weight"]
    assert passed.score.image >= 50
    assert said[1] == "fp16: values that are not finite"
    assert said[-1].startswith("fp16: put back: middle.0.conv1 of denoiser.onnx (values that are not finite alone)")
    sessions = {n: session(graph) for n, graph in passed.graphs.items()}
    assert judge_of(bundle, graphs_of, samples).score(sessions).image >= 50  # what is built is what was measured


def test_a_layer_that_loses_precision_is_put_back_alone(
    bundle: Bundle, graphs_of: Graphs, samples: list[Sample]
) -> None:
    """A difference of two huge values: float16 has no digits left for it, and nothing overflows."""
    graph = graphs_of["prior.onnx"]
    tensor = next(tensor for tensor in graph.graph.initializer if tensor.name == "up.0.weight")
    node = next(node for node in graph.graph.node if "up.0.weight" in node.input)
    offset = numpy_helper.from_array(np.full((tensor.dims[0],), 2e4, np.float32), "offset")
    graph.graph.initializer.extend([offset, numpy_helper.from_array(np.array(2e4, np.float32), "offset.back")])
    assert len(node.input) == 2
    node.input.append("offset")
    output, node.output[0] = node.output[0], "shifted"
    at = list(graph.graph.node).index(node)
    graph.graph.node.insert(at + 1, helper.make_node("Sub", ["shifted", "offset.back"], [output], name="unshift"))
    passed = gate(bundle, graphs_of, samples, 50.0)
    assert [layer.weights for layer in passed.kept] == ["up.0.weight"]
    assert passed.score.image >= 50


def test_few_of_several_layers_are_put_back(bundle: Bundle, graphs_of: Graphs, samples: list[Sample]) -> None:
    whole = gate(bundle, graphs_of, samples, 0.0, "bf16").score.image
    said: list[str] = []
    passed = gate(bundle, graphs_of, samples, whole + 3, "bf16", said)
    assert 0 < len(passed.kept) < len(all_layers(graphs_of)) / 2
    assert passed.score.image >= whole + 3
    assert f"with {len(passed.kept)} of " in "\n".join(said)


def test_a_hopeless_precision_is_refused(bundle: Bundle, graphs_of: Graphs, samples: list[Sample]) -> None:
    with pytest.raises(ExportError, match=r"bf16 costs too much: .* \(190 needed\): use --precision fp32"):
        gate(bundle, graphs_of, samples, 190.0, "bf16")


def test_a_network_that_is_not_finite_in_float32_is_refused(
    bundle: Bundle, graphs_of: Graphs, samples: list[Sample]
) -> None:
    scale(graphs_of["prior.onnx"], "stem.weight", math.nan)
    with pytest.raises(ExportError, match=r"prior\.onnx returns values that are not finite in float32"):
        judge_of(bundle, graphs_of, samples)


def test_a_bad_matte_alone_fails(bundle: Bundle, graphs_of: Graphs, samples: list[Sample]) -> None:
    judge = judge_of(bundle, graphs_of, samples)
    assert min(judge.score({})) == 200
    scale(graphs_of["prior.onnx"], "matte_head.weight", 1.05)
    assert judge.score({"prior.onnx": session(graphs_of["prior.onnx"])}).matte < 60


def test_a_good_photo_hides_no_bad_noise(bundle: Bundle, graphs_of: Graphs, samples: list[Sample]) -> None:
    """With a small rho the restored image is nearly that of the prior, whatever the denoiser says."""
    sampling = bundle.manifest.sampling
    tables = {
        name: [msgspec.structs.replace(step, rho=1e-4) for step in table] for name, table in sampling.tables.items()
    }
    tied = Bundle(
        bundle.path, msgspec.structs.replace(bundle.manifest, sampling=msgspec.structs.replace(sampling, tables=tables))
    )
    sound = gate(tied, graphs_of, samples, 40.0, "bf16").score
    assert sound.image > 60
    least = ANYTHING._replace(noise=sound.noise + 3)
    passed = gate(tied, graphs_of, samples, 40.0, "bf16", needed=least)
    assert passed.kept
    assert passed.score.noise >= sound.noise + 3
    scale(graphs_of["denoiser.onnx"], "noise_conv.weight", 1.2)
    found = judge_of(tied, graphs_of, samples).score({})
    assert found.image == 200
    wrong = judge_of(tied, {name: single_graph(onnx.load_model(tied.path / name)) for name in NETWORKS}, samples).score(
        {"denoiser.onnx": session(graphs_of["denoiser.onnx"])}
    )
    assert wrong.image > 40
    assert wrong.noise == pytest.approx(-20 * math.log10(0.2), abs=0.5)
