"""`verify`: what is compared, what is stored, and what it refuses."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from shadowdiffusion.export.bundle import BundleOptions, build_bundle
from shadowdiffusion.export.commands.results import Verified, table
from shadowdiffusion.export.recheck import engine_samples
from shadowdiffusion.runtime.bundle.device import find_cpu
from shadowdiffusion.runtime.bundle.engines import Gate, engine_stores, stored_engines
from shadowdiffusion.runtime.bundle.folder import ENGINES, Bundle, Manifest, hash_files, parse_manifest, write_manifest
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.training.checkpoint import Model, save_checkpoint
from shadowdiffusion.training.sampler import SamplerOptions
from shadowdiffusion.training.schedule import DiffusionConfig
from tests.export.command_line import assert_refused, call
from tests.export.conftest import output_names
from tests.runtime.engine_folders import add_engine, make_key, write_engine
from tests.runtime.tiny import picture, save, write_bundle


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
    assert set(measured.differences) == output_names(5) | steps | {"loop", "blind loop", "golden"}
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
    assert_refused(result, "onnx: denoiser.noise ", "agrees with PyTorch to 60.", "dB only, 80 dB are needed")
    found = msgspec.json.decode(result.stdout, type=Verified)
    assert not found.passed
    assert list(found.violations) == ["onnx"]
    measured = found.verification["onnx"]
    assert not measured.passed
    assert measured.differences["denoiser.noise 1"].relative_l2 == pytest.approx(1e-3, rel=0.05)
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


def add_onnxruntime_engine(path: Path, factor: float = 1.0, **fields: Any) -> str:
    """An engine of ONNX Runtime for this machine: the bundle's own graphs, the denoiser's noise scaled by `factor`."""
    opened = load_bundle(path)
    key = make_key(
        path,
        **{"backend": "onnxruntime", "backend_version": onnxruntime.__version__, "provider": "cpu", "sm": []},
        **{"device": find_cpu(), "precision": "fp32", "profile": "32x32:96x96:160x160", **fields.pop("key", {})},
    )
    graph = onnx.load_model(path / "denoiser.onnx")
    last = next(node for node in graph.graph.node if "noise" in node.output)
    last.output[list(last.output).index("noise")] = "noise.before"
    graph.graph.initializer.append(numpy_helper.from_array(np.array(factor, np.float32), "factor.of.test"))
    graph.graph.node.append(onnx.helper.make_node("Mul", ["noise.before", "factor.of.test"], ["noise"]))
    files = {"denoiser.onnx": graph.SerializeToString(), "prior.onnx": (path / "prior.onnx").read_bytes()}
    return write_engine(engine_stores(opened)[0], key, files, **fields).name


def test_an_engine_is_compared_with_the_portable_networks(path: Path) -> None:
    name = add_onnxruntime_engine(path)
    result = call("verify", path, "--json")
    assert result.exit_code == 0, result.output
    found = msgspec.json.decode(result.stdout, type=Verified)
    assert set(found.verification) == {"onnx", name}
    measured = found.verification[name]
    assert (measured.against, measured.passed) == ("portable ONNX", True)
    assert set(measured.differences) == output_names(2) | {"step 1", "step 2", "loop", "blind loop"}
    assert all(difference.psnr > 100 for difference in measured.differences.values())
    assert load_bundle(path).manifest.verification == found.verification
    assert "accuracy against portable ONNX: passed" in call("inspect", path / ENGINES / name).stdout


def test_an_engine_that_computes_something_else_fails_and_is_named(path: Path) -> None:
    good, bad = add_onnxruntime_engine(path), add_onnxruntime_engine(path, 1.001, key={"optimization_level": 1})
    result = call("verify", path, "--json")
    assert_refused(result, f"{bad}: denoiser.noise ", " agrees with portable ONNX to 60.", "dB only, 80 dB are needed")
    found = msgspec.json.decode(result.stdout, type=Verified)
    assert (found.verification[good].passed, found.verification[bad].passed) == (True, False)
    assert list(found.violations) == [bad]
    assert found.verification[bad].differences["denoiser.noise 1"].relative_l2 == pytest.approx(1e-3, rel=1e-2)
    assert found.verification[bad].differences["denoiser.mask 1"].psnr > 100
    assert not load_bundle(path).manifest.verification[bad].passed
    assert f"{bad} against portable ONNX: FAILED" in call("verify", path).stdout


@pytest.mark.parametrize(("least", "passed"), [(30.0, True), (150.0, False)])
def test_the_gate_of_an_engine_in_lower_precision_is_its_tolerance(path: Path, least: float, passed: bool) -> None:
    fields = {"key": {"precision": "fp16"}, "gate": Gate(51.0, least, ["a.jpg"])}
    name = add_onnxruntime_engine(path, 1.001, **fields)
    result = call("verify", path, "--json")
    found = msgspec.json.decode(result.stdout, type=Verified)
    assert found.passed == found.verification[name].passed == passed
    assert result.exit_code == (0 if passed else 2)
    if not passed:
        assert_refused(result, name, "loop agrees with portable ONNX to", "150 dB are needed")


@pytest.mark.parametrize(
    ("profile", "batch", "photos"),
    [
        ("64x64:64x64:64x64", "1:1:1", ["p.png 64x64"]),
        ("16x32:64x64:96x128", "2:2:4", ["p.png 128x96", "p.png 96x96"]),
        ("16x16:64x64:512x512", "1:1:4", ["p.png 160x96", "p.png 96x160"]),
    ],
)
def test_an_engine_is_fed_what_its_profile_allows(path: Path, profile: str, batch: str, photos: list[str]) -> None:
    """The graphs here would take any size: what they are given is looked at."""
    photo = save(path.parent / "p.png", picture(200, 300))
    name = add_onnxruntime_engine(path, key={"profile": profile, "batch": batch})
    result = call("verify", path, "--photo", photo, "--json")
    assert result.exit_code == 0, result.output
    assert msgspec.json.decode(result.stdout, type=Verified).verification[name].photos == photos
    bundle, engine = load_bundle(path), stored_engines(load_bundle(path))[name]
    samples, pair = engine_samples(bundle, engine, [photo])
    fewest, _, most = map(int, batch.split(":"))
    assert {len(sample.image) for sample in samples} == {fewest}
    assert pair == (most >= 2 * fewest)


def test_an_engine_that_does_not_run_fails(path: Path) -> None:
    key = make_key(
        path,
        **{"backend": "onnxruntime", "backend_version": onnxruntime.__version__, "provider": "cpu", "sm": []},
        **{"device": find_cpu(), "precision": "fp32"},
    )
    name = write_engine(engine_stores(load_bundle(path))[0], key).name
    result = call("verify", path, "--json")
    assert_refused(result, name, "it failed on the golden example")
    assert list(msgspec.json.decode(result.stdout, type=Verified).violations) == [name]
    assert name not in load_bundle(path).manifest.verification
