"""Passes asked for by name: applied, compared, and refused if they change the photos."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from shadowdiffusion.export.commands.console import quiet_bar
from shadowdiffusion.export.engines import asked_passes
from shadowdiffusion.export.engines.asked_passes import apply_asked
from shadowdiffusion.export.engines.job import Job
from shadowdiffusion.export.engines.key import EngineOptions, engine_key
from shadowdiffusion.export.engines.tensorrt import apply_own
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes.catalog import NATIVE_NORM, PHASE_UPSAMPLE
from shadowdiffusion.export.precision.mixed import mixed_graph, single_graph
from shadowdiffusion.runtime.bundle.folder import NETWORKS, Bundle


def job(bundle: Bundle, said: list[str], precision: Any = "fp32", **passes: bool) -> Job:
    switched = {name.replace("_", "-"): on for name, on in passes.items()}
    options = EngineOptions("tensorrt-rtx", precision, sm=(89,), passes=switched)
    change = single_graph if precision == "fp32" else mixed_graph
    graphs = {name: change(onnx.load_model(bundle.path / name)) for name in NETWORKS}
    key = engine_key(options, bundle, "1.7.1.116", None)
    return Job(bundle, key, options, graphs, Path(), Path(), said.append, quiet_bar)


def operators(graph: ModelProto) -> set[str]:
    return {node.op_type for node in graph.graph.node}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_pass_is_applied_and_what_it_changed_is_said(bundle: Bundle, precision: str) -> None:
    said: list[str] = []
    graphs, (note,) = apply_asked(job(bundle, said, precision, native_group_norm=True))
    assert "GroupNormalization" in operators(graphs["denoiser.onnx"])
    assert (note.name, note.exactness) == ("native-group-norm", "exact")
    assert "in denoiser.onnx" in note.detail
    assert "dB against results without it" in note.detail
    assert said == ["comparing the restored photos with native-group-norm and without"]


def test_nothing_is_done_unasked(bundle: Bundle) -> None:
    said: list[str] = []
    given = job(bundle, said, native_group_norm=False)
    graphs, notes = apply_asked(given)
    assert graphs == given.graphs
    assert not notes
    assert not said


def test_what_is_for_tensorrt_alone_is_left_to_it(bundle: Bundle) -> None:
    """Nothing here can run a graph with other inputs, so there is nothing to compare."""
    said: list[str] = []
    given = job(bundle, said, packed_input=True)
    assert apply_asked(given) == (given.graphs, [])
    graphs, (note,) = apply_own(given, given.graphs)
    assert [value.name for value in graphs["denoiser.onnx"].graph.input] == ["input", "row"]
    assert graphs["prior.onnx"] == given.graphs["prior.onnx"]
    assert note.name == "packed-input"
    assert note.detail.endswith("; in denoiser.onnx")
    assert apply_own(job(bundle, said, packed_input=False), given.graphs) == (given.graphs, [])
    assert not said


def test_a_pass_without_effect_is_said(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    idle = dataclasses.replace(PHASE_UPSAMPLE, apply=lambda graph: graph)
    monkeypatch.setattr(asked_passes, "PASSES", (idle,))
    said: list[str] = []
    assert apply_asked(job(bundle, said, phase_upsample=True))[1] == []
    assert said == ["phase-upsample finds nothing to change"]


def test_a_pass_that_changes_the_photos_is_refused(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(model: ModelProto) -> ModelProto:
        changed = NATIVE_NORM.apply(model) if NATIVE_NORM.apply else model
        for tensor in changed.graph.initializer:
            if tensor.name == "noise_conv.weight":
                tensor.CopyFrom(numpy_helper.from_array(np.float32(1.01) * numpy_helper.to_array(tensor), tensor.name))
        return changed

    monkeypatch.setattr(asked_passes, "PASSES", (dataclasses.replace(NATIVE_NORM, apply=wrong),))
    with pytest.raises(
        ExportError, match=r"native-group-norm is wrong for denoiser\.onnx \(.* noise 40\.\d dB \(80 needed\)"
    ):
        apply_asked(job(bundle, [], native_group_norm=True))
