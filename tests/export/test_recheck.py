"""`verify`: what is compared, what is stored, and what it refuses."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.bundle import BundleOptions, build_bundle
from export.results import Verified, table
from runtime.bundle import ENGINES, Bundle, Manifest, hash_files, load_bundle, parse_manifest, write_manifest
from tests.export.command_line import assert_refused, call
from tests.runtime.engine_folders import add_engine
from tests.runtime.tiny import picture, save, write_bundle
from training.checkpoint import Model, save_checkpoint
from training.sampler import SamplerOptions
from training.schedule import DiffusionConfig

NETWORKS = {"prior.clean", "prior.matte", "denoiser.noise", "denoiser.shadow"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "b", golden=True)


@pytest.fixture
def exported_path(bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of the exported bundle that nothing has been measured of."""
    path = Path(shutil.copytree(bundle.path, tmp_path / "exported"))
    write_manifest(path, msgspec.structs.replace(bundle.manifest, verification={}))
    return path


@pytest.fixture
def checkpoint(model: Model, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "both.safetensors", model)
    return tmp_path / "both.safetensors"


def manifest_of(path: Path) -> Manifest:
    return parse_manifest((path / "manifest.json").read_bytes())


def damage_network(path: Path, factor: float) -> None:
    """Scale the last convolution, and make the manifest believe it."""
    graph = onnx.load_model(path / "denoiser.onnx")
    tensor = next(t for t in graph.graph.initializer if t.name == "noise_conv.weight")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), tensor.name))
    onnx.save_model(graph, path / "denoiser.onnx")
    write_manifest(path, msgspec.structs.replace(manifest_of(path), files=hash_files(path)))


def test_without_checkpoints_only_the_golden_example_is_measured(exported_path: Path) -> None:
    result = call("verify", exported_path, "--json")
    assert result.exit_code == 0, result.output
    found = msgspec.json.decode(result.stdout, type=Verified)
    assert (found.passed, found.violations, found.not_run, found.not_stored) == (True, {}, {}, None)
    assert list(found.verification) == ["onnx"]
    assert found.verification["onnx"].against == "golden"
    assert list(found.verification["onnx"].differences) == ["golden"]
    assert manifest_of(exported_path).verification == found.verification


def test_checkpoints_are_compared_step_by_step_on_photos(exported_path: Path, checkpoint: Path) -> None:
    photo = save(exported_path.parent / "p.png", picture(120, 200))
    result = call("verify", exported_path, "--against", checkpoint, "--photo", photo)
    assert result.exit_code == 0, result.output
    measured = load_bundle(exported_path).manifest.verification["onnx"]
    steps = {f"step {number}" for number in range(1, 6)}
    assert set(measured.differences) == NETWORKS | steps | {"loop", "blind loop", "golden"}
    assert measured.photos == ["p.png 160x96", "p.png 96x160"]
    assert measured.passed
    assert all(difference.psnr > 60 for difference in measured.differences.values())
    assert all(difference.max_abs < 1e-3 for difference in measured.differences.values())
    for line in table("onnx", measured):
        assert line in result.stdout
        assert len(line) <= 100
    # the golden example alone, later, does not forget it
    assert call("verify", exported_path).exit_code == 0
    assert set(load_bundle(exported_path).manifest.verification["onnx"].differences) == set(measured.differences)


def test_table_is_in_running_order(exported_path: Path, checkpoint: Path, model: Model, exported: None) -> None:
    build_bundle(model, exported_path, BundleOptions(SamplerOptions(steps=12), "x", force=True))
    rows = [line.split()[:2] for line in table("onnx", manifest_of(exported_path).verification["onnx"])]
    found = [row[1] for row in rows if row[:1] == ["step"]]
    assert found == [str(number) for number in range(1, 13)]
    assert [row[0] for row in rows[-3:]] == ["loop", "blind", "golden"]


def test_rounded_weights_are_compared_with_rounded_ones(
    model: Model, exported: None, checkpoint: Path, tmp_path: Path
) -> None:
    sampling = SamplerOptions(rho=0.1, rho_schedule="linear", rho_gamma=0.05, eta=0.3, start=300, steps=3)
    build_bundle(model, tmp_path / "half", BundleOptions(sampling, "half", passes={"half-weights": True}))
    result = call("verify", tmp_path / "half", "--against", checkpoint)
    assert result.exit_code == 0, result.output


def test_another_network_fails_with_its_report(exported_path: Path, checkpoint: Path) -> None:
    damage_network(exported_path, 1.001)
    result = call("verify", exported_path, "--against", checkpoint, "--json")
    assert_refused(result, "onnx: denoiser.noise agrees with PyTorch to 60.", "dB only, 80 dB are needed")
    found = msgspec.json.decode(result.stdout, type=Verified)
    assert not found.passed
    assert list(found.violations) == ["onnx"]
    measured = found.verification["onnx"]
    assert not measured.passed
    assert measured.differences["denoiser.noise"].relative_l2 == pytest.approx(1e-3, rel=0.02)
    assert measured.differences["prior.clean"].relative_l2 < 1e-5
    assert manifest_of(exported_path).verification["onnx"] == measured
    people = call("verify", exported_path, "--against", checkpoint)
    assert "onnx against PyTorch: FAILED" in people.stdout


def test_a_golden_example_that_is_not_reproduced_fails(path: Path) -> None:
    golden = np.load(path / "golden/expected.npz")["x"]
    np.savez(path / "golden/expected.npz", x=np.clip(golden + 0.1, 0, 1))
    write_manifest(path, msgspec.structs.replace(manifest_of(path), files=hash_files(path)))
    assert_refused(call("verify", path), "golden agrees with its recorded result to", "50 dB are needed")
    assert not manifest_of(path).verification["onnx"].passed


def test_checkpoints_of_something_else_are_refused(bundle: Bundle, model: Model, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "prior.safetensors", Model(None, model.prior))
    save_checkpoint(tmp_path / "denoiser.safetensors", Model(model.denoiser, None))
    other = dataclasses.replace(model, diffusion=DiffusionConfig(beta_end=0.03))
    save_checkpoint(tmp_path / "other.safetensors", other)
    before = (bundle.path / "manifest.json").read_bytes()
    for name, words in (("prior", "no denoiser"), ("denoiser", "have none"), ("other", "another noise schedule")):
        assert_refused(call("verify", bundle.path, "--against", tmp_path / f"{name}.safetensors"), words)
    (tmp_path / "p.png").write_bytes(b"no photo")
    save_checkpoint(tmp_path / "both.safetensors", model)
    against, photo = str(tmp_path / "both.safetensors"), str(tmp_path / "p.png")
    assert_refused(call("verify", bundle.path, "--against", against, "--photo", photo), "p.png")
    assert (bundle.path / "manifest.json").read_bytes() == before


def test_engines_that_cannot_run_here_are_named_and_damaged_ones_fail(path: Path) -> None:
    name = add_engine(path)
    result = call("verify", path, "--json")
    assert result.exit_code == 0, result.output
    found = msgspec.json.decode(result.stdout, type=Verified)
    assert list(found.not_run) == [name]
    assert f"{name} is not run here: " in result.stderr
    (path / ENGINES / name / "prior.engine").write_bytes(b"short")
    result = call("verify", path, "--json")
    assert_refused(result, name, "prior.engine", "damaged", "prune")
    assert list(msgspec.json.decode(result.stdout, type=Verified).violations) == [name]


def test_figures_of_engines_that_are_gone_are_dropped(path: Path) -> None:
    name = add_engine(path)
    call("verify", path)
    manifest = manifest_of(path)
    found = manifest.verification["onnx"]
    write_manifest(path, msgspec.structs.replace(manifest, verification={name: found, "gone": found}))
    call("verify", path)
    assert set(manifest_of(path).verification) == {"onnx", name}


def test_a_packed_bundle_stays_as_it_is(path: Path) -> None:
    call("pack", path, "-o", path.parent / "b.zip")
    packed = path.parent / "b.zip"
    before = packed.read_bytes()
    result = call("verify", packed)
    assert result.exit_code == 0, result.output
    assert "nothing was stored: a packed bundle is never changed" in result.stdout
    assert packed.read_bytes() == before
