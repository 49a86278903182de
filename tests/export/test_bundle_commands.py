"""`prune` and `pack`: what they say, what they change, and one line for what is wrong."""

from __future__ import annotations

import errno
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from shadowdiffusion.export.engines import prune as prune_module
from shadowdiffusion.runtime.bundle import opening
from shadowdiffusion.runtime.bundle.engines import stored_engines
from shadowdiffusion.runtime.bundle.folder import ENGINES
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.selection.fit import Machine
from tests.export.command_line import assert_refused, call
from tests.runtime.engine_folders import add_engine
from tests.runtime.tiny import write_bundle


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "b", golden=True)


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


def test_prune_drops_the_engine_that_is_named(path: Path) -> None:
    named, other = add_engine(path), add_engine(path, backend_version="1.6.0")
    assert call("prune", path, "--engine", named).stdout == f"dropped {named}: it was named\n"
    assert list(stored_engines(load_bundle(path))) == [other]
    assert_refused(call("prune", path, "--engine", named), f"has no engine {named}: {other}")


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


def test_prune_leaves_a_packed_bundle_as_it_is(path: Path, tmp_path: Path) -> None:
    """Its unpacked copy in the cache too, which would differ from it otherwise."""
    name, packed = add_engine(path, batch="1:1:1"), tmp_path / "b.zip"
    assert call("pack", path, "-o", packed).exit_code == 0
    copy = load_bundle(packed)
    (copy.path / ENGINES / name / "prior.engine").write_bytes(b"")
    result = call("prune", packed)
    assert (result.exit_code, result.stdout) == (0, "nothing to drop\n")
    assert "is a packed bundle, which is never changed: the engines in it stay" in result.stderr
    assert (copy.path / ENGINES / name).is_dir()


def test_pack_and_load_round_trip(path: Path, tmp_path: Path) -> None:
    name, broken = add_engine(path), add_engine(path, batch="1:1:1")
    (path / ENGINES / broken / "prior.engine").write_bytes(b"")
    (path / ENGINES / "unknown").mkdir()
    (path / ENGINES / ".left.tmp").mkdir()
    (path / ENGINES / ".left.tmp" / "scratch").touch()
    for file in ("one.zip", "two.zip", "n" * 251 + ".zip"):
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

    monkeypatch.setattr("shadowdiffusion.export.pack.shutil.copyfileobj", fail)
    assert_refused(call("pack", path, "-o", target, "--force"), "b.zip", "No space left on device")
    assert target.read_text() == "old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["b", "b.zip"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("inspect", "mine", "--json"), '"task":"shadow"'),
        (("prune", "mine", "--dry-run"), "nothing to drop"),
        (("pack", "mine", "-o", "packed.zip"), "packed.zip: "),
        (("verify", "mine"), "verified"),
        (("kernels", "mine"), "TRITON_INTERPRET is set"),  # where tests run, after the bundle was read
        (("build-engine", "mine", "--backend", "cpu-kernels", "--precision", "fp16"), "kernels"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_every_command_takes_the_name_of_a_built_in_bundle(
    path: Path, command: tuple[str, ...], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "installed").mkdir()
    monkeypatch.setattr(opening, "DEFAULT_BUNDLE", path.rename(tmp_path / "installed" / "mine"))
    monkeypatch.chdir(tmp_path)
    result = call(*command)
    assert "does not exist" not in result.output
    assert expected in result.output
