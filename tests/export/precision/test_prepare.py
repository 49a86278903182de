"""Graphs for an engine: measured, described, and accepted by a real builder."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import onnx
import pytest
from onnx import numpy_helper

from shadowdiffusion.export.commands.console import quiet_bar
from shadowdiffusion.export.engines.build import build_engines
from shadowdiffusion.export.engines.key import EngineOptions, engine_key
from shadowdiffusion.export.precision.prepare import Prepared, prepare
from shadowdiffusion.runtime.bundle.engines import Precision
from shadowdiffusion.runtime.bundle.folder import NETWORKS, Bundle, hash_files, write_manifest
from shadowdiffusion.runtime.bundle.opening import load_bundle


def prepared(
    bundle: Bundle, precision: Precision, gate: float | None = None, said: list[str] | None = None
) -> Prepared:
    options = EngineOptions("tensorrt-rtx", precision, sm=(89,))
    report = (said if said is not None else []).append
    return prepare(bundle, engine_key(options, bundle, "1", None), gate, (), report, quiet_bar)


def test_float32_needs_no_gate(bundle: Bundle) -> None:
    found = prepared(bundle, "fp32")
    assert tuple(found.graphs) == NETWORKS
    assert (found.notes, found.kept_in_fp32, found.gate) == ([], {}, None)


def test_what_a_precision_costs_is_recorded() -> None:
    """The built-in networks, not random ones, whose choices the least rounding may flip."""
    found = prepared(load_bundle(), "fp16")
    assert found.gate is not None
    assert found.gate.least == 50 < found.gate.psnr
    assert len(found.gate.photos) == 2
    (note,) = found.notes
    assert (note.name, note.exactness, note.psnr) == ("fp16", "approximate", found.gate.psnr)
    assert found.kept_in_fp32 == {}


def test_layers_that_stay_in_float32_are_named(bundle: Bundle, tmp_path: Path) -> None:
    """Weights beyond float16 stay without being asked for, and are named all the same."""
    path = shutil.copytree(bundle.path, tmp_path / "b")
    model = onnx.load_model(path / "mask_head.onnx")
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == convs[-1].input[1])
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 1e6, tensor.name))
    onnx.save_model(model, path / "mask_head.onnx")
    write_manifest(path, msgspec.structs.replace(bundle.manifest, files=hash_files(path)))
    assert prepared(load_bundle(path), "fp16").kept_in_fp32["mask_head.onnx"] == [convs[-1].name]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_builder_takes_the_graphs(bundle: Bundle, tmp_path: Path, precision: Precision) -> None:
    pytest.importorskip("tensorrt_rtx")
    path = shutil.copytree(bundle.path, tmp_path / "b")
    options = EngineOptions("tensorrt-rtx", precision, profile="64x64", sm=(89, 120), gate=30.0)
    record = build_engines(path, options, lambda line: None).engine.record
    assert {record.networks[name].file for name in record.networks} >= {"prior.engine", "denoiser.engine"}
    assert record.gate is not None
    assert record.gate.psnr >= 30
