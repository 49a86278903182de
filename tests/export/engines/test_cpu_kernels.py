"""Engines of our CPU kernels: built for real on a tiny network, chosen by the runtime, equal to the portable one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from shadowdiffusion import runtime
from shadowdiffusion.export.cpu_graph.network import Convolution, Network
from shadowdiffusion.export.cpu_graph.reading import read_network
from shadowdiffusion.export.engines import cpu_kernels as backend
from shadowdiffusion.export.engines.build import Outcome, build_engines
from shadowdiffusion.export.engines.key import EngineOptions
from shadowdiffusion.export.engines.onnxruntime import network_inputs
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.graph import export_prior
from shadowdiffusion.runtime.backends import cpu_library
from shadowdiffusion.runtime.backends.cpu_networks import CpuNetworks
from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks
from shadowdiffusion.runtime.bundle.engines import stored_engines
from shadowdiffusion.runtime.bundle.folder import DENOISER, Bundle
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.selection.selection import choose
from shadowdiffusion.training.checkpoint import Model
from shadowdiffusion.training.degradation import DegradationConfig, DegradationPrior
from tests import cpu_kernels
from tests.export.command_line import ROOT, environment
from tests.export.conftest import export, randomise
from tests.runtime.tiny import picture

OPTIONS = EngineOptions("cpu-kernels", profile="32x32:64x96:128x128", batch="1:1:2", threads=1)


PRIOR_CONFIG = DegradationConfig(32, (1, 1, 1), 1, (1, 1, 1), veiled=True, calibrated=True)


@pytest.fixture(scope="session")
def whole(model: Model, graphs: dict[str, ModelProto], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose prior the kernels can run, too."""
    prior = DegradationPrior(PRIOR_CONFIG)
    randomise(prior, 4)
    traced = graphs | {"prior": export_prior(prior)}
    return export(Model(model.denoiser, prior), traced, tmp_path_factory.mktemp("kernels") / "whole", {})


@pytest.fixture
def path(whole: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Races of tiny networks are decided by chance: here the kernels always win."""
    cpu_kernels.use(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(backend, "race", cpu_kernels.race_won_by("plan"))
    return shutil.copytree(whole.path, tmp_path / "bundle")


def build(path: Path, said: list[str] | None = None, **changes: Any) -> Outcome:
    return build_engines(path, replace(OPTIONS, **changes), (said if said is not None else []).append)


WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[2].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
try:
    from shadowdiffusion.export.engines import cpu_kernels
    from tests.cpu_kernels import race_won_by
    cpu_kernels.race = race_won_by("plan")
except ModuleNotFoundError:
    pass  # the command says so
from shadowdiffusion.export.commands.cli import app
app(["build-engine", sys.argv[1], "--backend", "cpu-kernels", "--profile", "32x32", "--threads", "1"])
"""


def test_no_pytorch_is_needed(path: Path) -> None:
    """With what the extra `engines` brings, and without it the advice is that extra."""

    def run(*absent: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", WITHOUT_TORCH, str(path), ",".join(absent)]
        return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)

    for absent in ("safetensors", "onnx"):
        refused = run("torch", absent)
        assert refused.returncode == 2
        assert refused.stderr.splitlines()[-1] == f"error: {absent} is not installed: pip install '.[engines]'"
    done = run("torch", "torchvision", "onnxscript", "accelerate", "triton")
    assert done.returncode == 0, done.stderr
    (engine,) = stored_engines(load_bundle(path)).values()
    assert set(engine.record.networks) == {"prior.onnx", "denoiser.onnx", "mask_head.onnx"}


def test_an_engine_computes_what_the_bundle_does(path: Path) -> None:
    engine, bundle = build(path).engine, load_bundle(path)
    assert set(engine.record.networks) == {"prior.onnx", "denoiser.onnx", "mask_head.onnx"}
    assert engine.record.key.device is None, "it runs on any CPU"
    portable, ours = OnnxRuntimeNetworks(bundle, "cpu", 1), CpuNetworks(bundle, 2, engine)
    for size, batch in (((32, 32), 1), ((64, 96), 3), ((160, 48), 1)):  # the last is outside the profile
        feed = network_inputs(bundle, DENOISER, size, batch)
        step = bundle.manifest.sampling.tables[str(bundle.manifest.sampling.default_steps)][0]
        inputs = (feed["image"], feed["mask"], feed["x_t"], step)
        for found, expected in zip(ours.denoise(*inputs, True), portable.denoise(*inputs, True), strict=True):
            assert found is not None
            assert expected is not None
            np.testing.assert_allclose(found, expected, atol=2e-5)
        noise, shadow = ours.denoise(*inputs, False)
        assert shadow is None
        for i in range(batch):
            y, mask, x_t = (values[i : i + 1] for values in (feed["image"], feed["mask"], feed["x_t"]))
            alone = ours.denoise(y, mask, x_t, step, False)[0]
            assert np.array_equal(alone[0], noise[i]), "a batch is not what its images are alone"
        clean, matte = ours.prior(feed["image"].clip(0, 1), feed["mask"])
        for found, expected in zip((clean, matte), portable.prior(feed["image"].clip(0, 1), feed["mask"]), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_runtime_chooses_it_and_restores_the_same(path: Path) -> None:
    engine, said = build(path).engine, list[str]()
    photo = picture(61, 90)
    ours, portable = runtime.load(path, say=said.append), runtime.load(path, "portable")
    assert not said
    for steps in (1, 5):
        found, expected = ours(photo, steps=steps), portable(photo, steps=steps)
        np.testing.assert_allclose(found.image, expected.image, atol=1e-4)
        assert found.mask is not None
        assert expected.mask is not None
        np.testing.assert_allclose(found.mask, expected.mask, atol=1e-4)
    bundle, name = load_bundle(path), f"engine {engine.name}"
    assert choose(bundle, say=said.append).title == choose(bundle, "cpu-kernels", "cpu").title == name
    with pytest.raises(runtime.RestoreError, match="run on the CPU only"):
        runtime.load(path, "cpu-kernels", "cuda")


def test_a_prior_that_the_kernels_cannot_run_stays_with_onnx_runtime(
    path: Path, bundle: Bundle, tmp_path: Path
) -> None:
    tiny, said = shutil.copytree(bundle.path, tmp_path / "tiny"), list[str]()
    assert set(build(tiny, said).engine.record.networks) == {"denoiser.onnx", "mask_head.onnx"}
    assert any("prior.onnx stays with ONNX Runtime: the CPU kernels" in line for line in said)
    photo = picture(61, 90)
    np.testing.assert_allclose(runtime.load(tiny)(photo).image, runtime.load(tiny, "portable")(photo).image, atol=1e-4)


def test_where_the_library_is_missing_the_engine_is_passed_over(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, said = build(path).engine.name, list[str]()
    monkeypatch.setenv(cpu_library.VARIABLE, str(path / "nothing.so"))
    cpu_library._library.cache_clear()
    assert choose(load_bundle(path), say=said.append).title == "ONNX Runtime on the CPU"
    assert said == [f"engine {name} is passed over: our CPU kernels is not installed"]
    with pytest.raises(runtime.RestoreError, match="not installed"):
        runtime.load(path, "cpu-kernels")
    with pytest.raises(ExportError, match=r"cannot be loaded .*nothing\.so.*docs/cpu-kernels\.md"):
        build(path, force=True)


def test_a_damaged_plan_is_passed_over(path: Path) -> None:
    engine, said = build(path).engine, list[str]()
    plan = engine.path / "denoiser.plan"
    raw = bytearray(plan.read_bytes())
    raw[len(raw) // 2] ^= 1
    plan.write_bytes(raw)
    assert choose(load_bundle(path), say=said.append).title == "ONNX Runtime on the CPU"
    assert "denoiser.plan" in said[0]


def test_an_engine_that_is_not_faster_is_not_stored(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "race", cpu_kernels.race_won_by("graph"))
    with pytest.raises(ExportError, match=r"not faster here: .* ms against .* ms a step; use --backend onnxruntime"):
        build(path)
    assert not list((path / "engines").glob("*/"))


def test_other_networks_stay_with_onnx_runtime_where_it_is_faster(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def race(runs: dict[str, Callable[[], object]], progress: object) -> dict[str, list[float]]:
        last = next(races)
        return cpu_kernels.race_won_by("graph" if last else "plan")(runs, progress)

    races, said = iter((True, False, True)), list[str]()  # of the prior, the denoiser, and the mask head
    monkeypatch.setattr(backend, "race", race)
    engine = build(path, said).engine
    assert set(engine.record.networks) == {"denoiser.onnx"}
    assert sum("stays with ONNX Runtime" in line for line in said) == 2
    photo = picture(61, 90)
    ours, portable = runtime.load(path), runtime.load(path, "portable")
    np.testing.assert_allclose(ours(photo).image, portable(photo).image, atol=1e-4)


def test_a_plan_that_computes_otherwise_is_not_stored(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(model: ModelProto) -> Network:
        network = read_network(model)
        step = next(step for step in network.steps if isinstance(step, Convolution) and step.normalisation)
        assert step.normalisation
        step.normalisation = replace(step.normalisation, epsilon=0.5)
        return network

    monkeypatch.setattr(backend, "read_network", wrong)
    with pytest.raises(ExportError, match=r"the plan of denoiser\.onnx computes otherwise than its graph"):
        build(path)


def test_options_that_mean_nothing_are_refused(path: Path) -> None:
    for changes, text in (
        ({"precision": "int8"}, "compute in float32, not in int8"),
        ({"provider": "cuda"}, "--provider does not go with --backend cpu-kernels"),
        ({"passes": {"winograd": True}}, "--with and --without do not go with --backend cpu-kernels"),
        ({"sm": (89,)}, "--sm does not go with --backend cpu-kernels"),
    ):
        with pytest.raises(ExportError, match=text):
            build(path, **changes)
