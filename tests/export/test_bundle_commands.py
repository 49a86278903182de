"""`inspect`, `prune`, `pack` and `verify`: what they say, what they change, and one line for what is wrong."""

from __future__ import annotations

import errno
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner, Result

from export.__main__ import app
from export.bundle import BundleOptions, build_bundle
from export.engines import prune as prune_module
from runtime.bundle import ENGINES, Bundle, hash_files, load_bundle, parse_manifest, write_manifest
from runtime.engines import stored_engines
from runtime.fit import Machine
from tests.runtime.engine_folders import add_engine
from tests.runtime.tiny import write_bundle
from training.checkpoint import Model, save_checkpoint
from training.sampler import SamplerOptions


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def call(command: str, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [command, *map(str, arguments)])


def assert_refused(result: Result, *words: str) -> None:
    lines = [line for line in result.stderr.splitlines() if not line.startswith("[")]
    assert (result.exit_code, len(lines)) == (2, 1), result.output
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "b", golden=True)


def test_inspect_says_what_a_bundle_is(bundle: Bundle) -> None:
    facts = json.loads(call("inspect", bundle.path, "--json").stdout)
    denoiser, model = facts["graphs"]["denoiser.onnx"], bundle.manifest.model
    assert denoiser["operators"]["InstanceNormalization"] > 5
    assert sum(denoiser["operators"].values()) == denoiser["nodes"]
    # without the time embedding, which is a table
    assert 0.9 * model.denoiser_parameters <= denoiser["weights"]["float"] < model.denoiser_parameters
    assert denoiser["opset"] == 18
    assert denoiser["inputs"]["row"].startswith("float[1, ")
    assert facts["graphs"]["prior.onnx"]["outputs"]["clean"] == "float[N, 3, 4*h, 4*w]"
    assert facts["accuracy"] == bundle.manifest.accuracy
    assert facts["bytes"] == sum(entry.size for entry in bundle.manifest.files.values())
    text = call("inspect", bundle.path).stdout
    for words in ("tiny (shadow)", "opset 18", "InstanceNormalization", "loop_psnr", "exact  "):
        assert words in text


def test_inspect_lists_engines_with_their_keys(path: Path) -> None:
    whole, broken = add_engine(path), add_engine(path, backend_version="1.6.0")
    (path / ENGINES / broken / "record.json").write_bytes(b"{")
    facts = json.loads(call("inspect", path, "--json").stdout)["engines"]
    assert facts[whole]["state"] == "whole"
    assert facts[whole]["status"] == "not run on a GPU yet"
    assert facts[whole]["key"]["backend_version"] == "1.7.1.116"
    assert "record.json is not the record of an engine" in facts[broken]["state"]
    text = call("inspect", path).stdout
    assert "SM 89, TensorRT for RTX 1.7.1.116, fp16, 64x64" in text
    assert "record.json is not the record of an engine" in text


@pytest.mark.parametrize("file", ["", "prior.engine", "record.json"])
def test_inspect_reads_one_engine(path: Path, file: str) -> None:
    folder = path / ENGINES / add_engine(path)
    result = call("inspect", folder / file)
    assert result.exit_code == 0, result.output
    assert "whole; not run on a GPU yet" in result.stdout
    assert f"prior.onnx with SHA-256 {load_bundle(path).manifest.files['prior.onnx'].sha256}" in result.stdout
    (folder / "prior.engine").write_bytes(b"engine" * 99)
    assert "prior.engine is damaged (594 bytes instead of 600)" in call("inspect", folder).stdout
    renamed = shutil.copytree(folder, path.parent / "alone")
    assert "record.json is damaged" in call("inspect", renamed).stdout


def test_inspect_refuses_other_things(tmp_path: Path, path: Path) -> None:
    (tmp_path / "record.json").write_text("{}")
    assert_refused(call("inspect", tmp_path), "record of an engine")
    assert_refused(call("inspect", tmp_path / "absent"), "does not exist")
    (path / "denoiser.onnx").write_bytes(b"")
    assert_refused(call("inspect", path), "denoiser.onnx", "damaged")


def test_prune_drops_what_no_longer_fits_and_says_why(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune_module, "this_machine", lambda: Machine(None, "", {"tensorrt-rtx": "1.7.1.116"}))
    good, old = add_engine(path), add_engine(path, backend_version="1.6.0")
    cut = add_engine(path, batch="2:2:2")
    stale = add_engine(path, onnx={"denoiser.onnx": "0" * 64})
    (path / ENGINES / cut / "prior.engine").write_bytes(b"")
    (path / ENGINES / f".{cut}.log").touch()
    (path / ENGINES / "unknown").mkdir()
    (path / ENGINES / "unknown" / "denoiser.engine").touch()
    before = sorted(path.rglob("*"))
    dry = call("prune", path, "--dry-run")
    assert sorted(path.rglob("*")) == before
    assert dry.stdout.count("would drop") == 4
    result = call("prune", path)
    assert result.stdout == dry.stdout.replace("would drop", "dropped")
    for line in (
        f"dropped {old}: backend version is 1.6.0, not 1.7.1.116",
        f"dropped {cut}: prior.engine is damaged (0 bytes instead of 600)",
        f"dropped {stale}: denoiser.onnx and prior.onnx changed since",
    ):
        assert line in result.stdout.splitlines()
    assert "dropped unknown: " in result.stdout
    assert list(stored_engines(load_bundle(path))) == [good]
    assert [folder.name for folder in (path / ENGINES).iterdir()] == [good]
    assert call("prune", path).stdout == "nothing to drop\n"


def test_prune_keeps_versions_it_cannot_compare(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune_module, "this_machine", lambda: Machine(None, "", {"tensorrt-rtx": None}))
    add_engine(path, backend_version="1.6.0")
    result = call("prune", path)
    assert result.stdout == "nothing to drop\n"
    assert "GPUs are not compared, there is none here" in result.stderr
    assert "versions of TensorRT for RTX are not compared, there is none here" in result.stderr


def test_a_prune_that_fails_leaves_what_the_next_one_drops(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = add_engine(path)
    (path / ENGINES / name / "prior.engine").unlink()

    def fail(*_: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        assert_refused(call("prune", path), "Read-only")
    load_bundle(path)
    assert call("prune", path).stdout.startswith(f"dropped {name}")
    assert not stored_engines(load_bundle(path))


def test_pack_and_load_round_trip(path: Path, tmp_path: Path) -> None:
    name, broken = add_engine(path), add_engine(path, batch="1:1:1")
    (path / ENGINES / broken / "prior.engine").write_bytes(b"")
    (path / ENGINES / "unknown").mkdir()
    (path / ENGINES / ".left.tmp").mkdir()
    (path / ENGINES / ".left.tmp" / "scratch").touch()
    for file in ("one.zip", "two.zip"):
        result = call("pack", path, "-o", tmp_path / file)
        assert result.exit_code == 0, result.output
        assert f"engine {broken} is not packed: prior.engine is damaged" in result.stderr
        assert "engine unknown is not packed: " in result.stderr
        os.utime(path / "denoiser.onnx")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        names = archive.namelist()
        assert all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())
    engine = [f"engines/{name}/{file}" for file in ("denoiser.engine", "prior.engine", "record.json")]
    assert names == ["manifest.json", *sorted(load_bundle(path).manifest.files), *engine]
    opened = load_bundle(tmp_path / "one.zip")
    assert opened.manifest == load_bundle(path).manifest
    for name in names:
        assert (opened.path / name).read_bytes() == (path / name).read_bytes()
    assert json.loads(call("inspect", tmp_path / "one.zip", "--json").stdout)["name"] == "tiny"


def test_pack_refuses_bad_targets_and_bad_bundles(path: Path, tmp_path: Path) -> None:
    (tmp_path / "there.zip").write_text("precious")
    (tmp_path / "link.zip").symlink_to(tmp_path / "there.zip")
    assert_refused(call("pack", path, "-o", tmp_path / "there.zip"), "already exists", "--force")
    assert_refused(call("pack", path, "-o", tmp_path / "link.zip", "--force"), "already exists")
    assert_refused(call("pack", path, "-o", path, "--force"), "already exists")
    assert_refused(call("pack", path, "-o", path / "in.zip"), "inside the bundle")
    assert_refused(call("pack", path, "-o", tmp_path / "absent" / "b.zip"), "does not exist")
    (tmp_path / "empty").mkdir()
    assert_refused(call("pack", tmp_path / "empty", "-o", tmp_path / "new.zip"), "not a bundle")
    assert (tmp_path / "there.zip").read_text() == "precious"
    assert call("pack", path, "-o", tmp_path / "there.zip", "--force").exit_code == 0
    assert_refused(call("pack", tmp_path / "there.zip", "-o", tmp_path / "again.zip"), "packed bundle")


def test_a_pack_that_fails_leaves_the_old_file(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "b.zip"
    target.write_text("old")

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("export.pack.shutil.copyfileobj", fail)
    assert_refused(call("pack", path, "-o", target, "--force"), "b.zip", "No space left on device")
    assert target.read_text() == "old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["b", "b.zip"]


@pytest.fixture
def checkpoint(model: Model, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "both.safetensors", model)
    return tmp_path / "both.safetensors"


def test_verify_compares_and_stores(bundle: Bundle, checkpoint: Path, tmp_path: Path) -> None:
    path = shutil.copytree(bundle.path, tmp_path / "b")
    manifest = parse_manifest((path / "manifest.json").read_bytes())
    write_manifest(path, msgspec.structs.replace(manifest, accuracy={"other": 1.0}))
    result = call("verify", path, "--json")
    assert result.exit_code == 0, result.output
    assert list(json.loads(result.stdout)["accuracy"]) == ["golden_psnr"]
    result = call("verify", path, "--against", checkpoint)
    assert result.exit_code == 0, result.output
    assert "golden_psnr" in result.stdout
    accuracy = load_bundle(path).manifest.accuracy
    assert accuracy["golden_psnr"] > 60
    assert set(bundle.manifest.accuracy) | {"other", "golden_psnr"} == set(accuracy)
    assert accuracy["denoiser_noise_snr"] > 80


def test_verify_knows_rounded_weights(model: Model, exported: None, checkpoint: Path, tmp_path: Path) -> None:
    sampling = SamplerOptions(rho=0.1, rho_schedule="linear", rho_gamma=0.05, eta=0.3, start=300, steps=3)
    build_bundle(model, tmp_path / "half", BundleOptions(sampling, "half", passes={"half-weights": True}))
    result = call("verify", tmp_path / "half", "--against", checkpoint)
    assert result.exit_code == 0, result.output


def test_verify_fails_on_another_network(bundle: Bundle, checkpoint: Path, tmp_path: Path) -> None:
    path = shutil.copytree(bundle.path, tmp_path / "b")
    graph = onnx.load_model(path / "denoiser.onnx")
    tensor = next(t for t in graph.graph.initializer if t.name == "noise_conv.weight")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.001), tensor.name))
    onnx.save_model(graph, path / "denoiser.onnx")
    manifest = parse_manifest((path / "manifest.json").read_bytes())
    write_manifest(path, msgspec.structs.replace(manifest, files=hash_files(path)))
    before = (path / "manifest.json").read_bytes()
    assert_refused(call("verify", path, "--against", checkpoint), "denoiser_noise agrees with PyTorch to")
    assert (path / "manifest.json").read_bytes() == before
    golden = np.load(path / "golden/expected.npz")["x"]
    np.savez(path / "golden/expected.npz", x=np.clip(golden + 0.1, 0, 1))
    write_manifest(path, msgspec.structs.replace(manifest, files=hash_files(path)))
    assert_refused(call("verify", path), "golden")


def test_verify_refuses_checkpoints_of_something_else(bundle: Bundle, model: Model, tmp_path: Path) -> None:
    import dataclasses

    from training.schedule import DiffusionConfig

    save_checkpoint(tmp_path / "prior.safetensors", Model(None, model.prior))
    save_checkpoint(tmp_path / "denoiser.safetensors", Model(model.denoiser, None))
    other = dataclasses.replace(model, diffusion=DiffusionConfig(beta_end=0.03))
    save_checkpoint(tmp_path / "other.safetensors", other)
    for name, words in (("prior", "no denoiser"), ("denoiser", "have none"), ("other", "another noise schedule")):
        assert_refused(call("verify", bundle.path, "--against", tmp_path / f"{name}.safetensors"), words)


def test_verify_checks_engines_too(path: Path) -> None:
    name = add_engine(path)
    assert call("verify", path).exit_code == 0
    (path / ENGINES / name / "prior.engine").write_bytes(b"short")
    assert_refused(call("verify", path), "prior.engine", "damaged", "prune")


def test_verify_leaves_a_packed_bundle_as_it_is(path: Path, tmp_path: Path) -> None:
    call("pack", path, "-o", tmp_path / "b.zip")
    before = (tmp_path / "b.zip").read_bytes()
    result = call("verify", tmp_path / "b.zip")
    assert result.exit_code == 0, result.output
    assert "nothing was stored" in result.stdout
    assert (tmp_path / "b.zip").read_bytes() == before


@pytest.mark.parametrize("command", ["build-engine", "inspect", "prune", "pack", "verify"])
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
