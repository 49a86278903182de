"""Engines of ONNX Runtime: built for real on tiny networks, loaded by the runtime, compared with the portable ones."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from shadowdiffusion import runtime
from shadowdiffusion.export.commands.console import quiet_bar
from shadowdiffusion.export.engines.build import Outcome, build_engines
from shadowdiffusion.export.engines.job import Job, Parts
from shadowdiffusion.export.engines.key import EngineOptions, engine_key
from shadowdiffusion.export.engines.layers import LAYERS, read_layers
from shadowdiffusion.export.engines.onnxruntime import load_onnxruntime, network_inputs
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.precision.mixed import single_graph
from shadowdiffusion.runtime.backends import onnxruntime_networks
from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks
from shadowdiffusion.runtime.bundle.engines import SessionSettings
from shadowdiffusion.runtime.bundle.folder import DENOISER, NETWORKS, PRIOR, Bundle, hash_files, write_manifest
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.selection.selection import choose
from tests.export.engines.wasteful import add_waste
from tests.runtime.tiny import picture

OPTIONS = EngineOptions("onnxruntime", profile="32x32:64x96:128x128", batch="1:1:2", threads=1, provider="cpu")


@pytest.fixture
def path(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return shutil.copytree(bundle.path, tmp_path / "bundle")


def build(path: Path, said: list[str] | None = None, **changes: Any) -> Outcome:
    return build_engines(path, replace(OPTIONS, **changes), (said if said is not None else []).append)


def compile_graphs(path: Path, folder: Path, said: list[str], precision: Any, **graphs: onnx.ModelProto) -> Parts:
    """What the backend makes of given graphs, which `prepare` would have made in that precision."""
    bundle, backend = load_bundle(path), load_onnxruntime()
    options = replace(OPTIONS, precision=precision)
    key = engine_key(options, bundle, backend.version, None)
    prior = single_graph(onnx.load_model(path / PRIOR))
    folder.mkdir()
    graphs = {PRIOR: prior, DENOISER: graphs["denoiser"]}
    return backend.compile(Job(bundle, key, options, graphs, folder, folder, said.append, quiet_bar))


def test_an_engine_computes_what_the_bundle_does(path: Path) -> None:
    engine = build(path).engine
    bundle = load_bundle(path)
    portable, tuned = OnnxRuntimeNetworks(bundle, "cpu", 1), OnnxRuntimeNetworks(bundle, "cpu", 1, engine)
    for size, batch in (((32, 32), 1), ((64, 96), 2), ((160, 48), 1)):  # the last is outside the profile
        feed = network_inputs(bundle, DENOISER, size, batch)
        step = bundle.manifest.sampling.tables[str(bundle.manifest.sampling.default_steps)][0]
        inputs = (feed["image"], feed["mask"], feed["x_t"], step)
        for found, expected in zip(tuned.denoise(*inputs, True), portable.denoise(*inputs, True), strict=True):
            assert found is not None
            assert expected is not None
            np.testing.assert_allclose(found, expected, atol=2e-5)
        noise, shadow = tuned.denoise(*inputs, False)
        assert shadow is None
        np.testing.assert_allclose(noise, portable.denoise(*inputs, False)[0], atol=2e-5)
        images = network_inputs(bundle, PRIOR, size, batch)
        for found, expected in zip(tuned.prior(**images), portable.prior(**images), strict=True):
            np.testing.assert_allclose(found, expected, atol=2e-5)


def test_the_runtime_chooses_the_engine_and_restores_the_same(path: Path) -> None:
    engine, said = build(path).engine, list[str]()
    photo = picture(60, 90)
    tuned = runtime.load(path, say=said.append)
    assert choose(load_bundle(path)).title == f"engine {engine.name}"
    assert said == []
    difference = np.abs(tuned(photo).image.astype(int) - runtime.load(path, "portable", "cpu", 1)(photo).image)
    assert difference.max() <= 1


def test_the_record_says_what_was_chosen_and_measured(path: Path) -> None:
    said: list[str] = []
    outcome = build(path, said, passes={"phase-upsample": True, "two-pass-group-norm": True})
    record, folder = outcome.engine.record, outcome.engine.path
    assert set(record.files) == {LAYERS, *(network.file for network in record.networks.values())}
    layers = read_layers(folder)
    assert set(layers) == set(record.networks) == set(record.latency_ms) == set(NETWORKS)
    assert any(layer.operator == "Conv" and layer.macs for layer in layers[DENOISER])
    assert all(taken > 0 for taken in record.latency_ms.values())
    assert record.session is not None
    assert record.session.threads == 1
    assert record.key.flags == ["threads:1", "with:phase-upsample", "with:two-pass-group-norm"]
    assert [(note.name, note.exactness) for note in record.notes] == [
        ("phase-upsample", "exact"),
        ("two-pass-group-norm", "exact"),
    ]
    assert record.status.startswith("reproduces the golden example to ")
    kinds = {node.op_type for node in onnx.load_model(folder / DENOISER).graph.node}
    assert kinds.isdisjoint({"InstanceNormalization", "Resize", "Upsample"})
    assert any("times the bundle's" in line for line in said)
    assert not build(path, passes={"phase-upsample": True, "two-pass-group-norm": True}).built
    assert build(path, passes={"phase-upsample": False}).built


def test_sessions_are_opened_with_the_settings_of_the_record(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = build(path).engine
    settings = engine.record.session
    assert settings is not None
    opened: list[tuple[SessionSettings, bool]] = []
    original = onnxruntime_networks.open_session

    def spy(graph: Any, provider: Any, settings: SessionSettings, optimized: bool = False) -> Any:
        opened.append((settings, optimized))
        return original(graph, provider, settings, optimized)

    monkeypatch.setattr(onnxruntime_networks, "open_session", spy)
    bundle = load_bundle(path)
    images = network_inputs(bundle, PRIOR, (32, 32), 1)
    OnnxRuntimeNetworks(bundle, "cpu", None, engine).prior(**images)
    OnnxRuntimeNetworks(bundle, "cpu", 2, engine).prior(**images)
    OnnxRuntimeNetworks(bundle, "cpu", None).prior(**images)
    assert opened == [
        (settings, True),
        (SessionSettings(2, settings.spinning, {}), True),
        (SessionSettings(0, True, {}), False),
    ]


def test_low_precision_that_is_slower_is_not_built(path: Path, tmp_path: Path) -> None:
    graph = single_graph(onnx.load_model(path / DENOISER))
    with pytest.raises(ExportError, match=r"^int8 is not faster here: [0-9.]+ ms against [0-9.]+ ms a step; use"):
        compile_graphs(path, tmp_path / "engine", [], "int8", denoiser=add_waste(graph, 4))


def test_low_precision_that_is_faster_is_built(path: Path, tmp_path: Path) -> None:
    graph, manifest = single_graph(onnx.load_model(path / DENOISER)), load_bundle(path).manifest
    onnx.save(add_waste(graph, 4), path / DENOISER)  # the float32 network has more to do
    write_manifest(path, msgspec.structs.replace(manifest, files=hash_files(path)))
    said: list[str] = []
    parts = compile_graphs(path, tmp_path / "engine", said, "int8", denoiser=graph)
    assert DENOISER in parts.networks
    assert any(line.startswith("int8 is faster: ") for line in said)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"precision": "fp16"}, "builds no fp16 engine: its CPU kernels compute float16 in float32"),
        ({"precision": "bf16"}, "builds no bf16 engine"),
        ({"precision": "fp8"}, "builds no fp8 engine"),
        ({"strip_weights": True}, "--strip-weights does not go with --backend onnxruntime"),
        ({"sm": (89,)}, "--sm does not go with --backend onnxruntime"),
        ({"provider": "cuda"}, "has no CUDA here: install onnxruntime-gpu"),
    ],
    ids=str,
)
def test_what_cannot_be_or_cannot_pay_is_refused_at_once(path: Path, changes: dict[str, Any], problem: str) -> None:
    import onnxruntime

    if changes.get("provider") == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(ExportError, match=problem):
        build(path, **changes)
    assert not (path / "engines").exists()
