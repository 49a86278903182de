"""Faults of files, disks and processes: one line, exit code 2, and nothing half-written.

Where disks are full and processes are stopped, commands run in processes of their own. Full and read-only disks are
real ones: small file systems that only that process sees.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shadowdiffusion.runtime.bundle.folder import Bundle, Manifest, parse_manifest
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.errors import BundleError
from shadowdiffusion.training.checkpoint import Model, save_checkpoint
from tests.deadlines import LONGEST
from tests.export.command_line import ROOT, assert_one_line, assert_refused, call, environment, run
from tests.runtime.engine_folders import add_engine
from tests.runtime.tiny import write_bundle

FILES = (
    "prior.onnx",
    "denoiser.onnx",
    "denoiser.rows.npy",
    "mask_head.onnx",
    "golden/input.npz",
    "golden/expected.npz",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "b", golden=True)


@pytest.fixture
def checkpoint(model: Model, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "both.safetensors", model)
    return tmp_path / "both.safetensors"


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    """One bit in the middle."""
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 16
    file.write_bytes(raw)


@pytest.mark.parametrize("damage", [truncate, flip])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_by_every_command(
    bundle: Bundle, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    path = Path(shutil.copytree(bundle.path, tmp_path / "exported"))
    assert {*FILES} == {*bundle.manifest.files}
    damage(path / name)
    before = content(path)
    commands = ("inspect", "verify", "pack", "kernels") if name == "denoiser.onnx" else ("inspect",)
    for command in commands:
        more = ("-o", path.parent / "b.zip") if command == "pack" else ()
        result = call(command, path, *more)
        assert_refused(result, name, "is damaged")
        assert result.stdout == ""
    assert content(path) == before
    assert not (path.parent / "b.zip").exists()


def test_no_flipped_bit_of_a_manifest_is_more_than_one_line(path: Path) -> None:
    """A manifest has no digest of its own: what is no manifest any more is refused, what still is one loads."""
    raw, refused = (path / "manifest.json").read_bytes(), 0
    for place in range(0, len(raw), 3):
        damaged = bytearray(raw)
        damaged[place] ^= 1 << place % 8
        try:
            assert isinstance(parse_manifest(bytes(damaged)), Manifest)
        except BundleError:
            refused += 1
    assert refused > len(raw) / 3 / 2


MANIFESTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "version 0": lambda manifest: manifest | {"format_version": 0},
    "version 1": lambda manifest: manifest | {"format_version": 1},
    "version 3": lambda manifest: manifest | {"format_version": 3},
    "version '2'": lambda manifest: manifest | {"format_version": "2"},
    "no version": lambda manifest: {key: value for key, value in manifest.items() if key != "format_version"},
    "a list": lambda manifest: [manifest],
}


@pytest.mark.parametrize("name", [*MANIFESTS, "no JSON", "cut", "empty"])
def test_another_manifest_is_refused(path: Path, name: str) -> None:
    file = path / "manifest.json"
    raw = file.read_bytes()
    words: tuple[str, ...] = ("manifest.json",)
    if name in MANIFESTS:
        file.write_text(json.dumps(MANIFESTS[name](json.loads(raw))))
    else:
        file.write_bytes({"no JSON": b"weights go here", "cut": raw[: len(raw) // 2], "empty": b""}[name])
    if name in ("version 0", "version 1"):
        words += (f"format version {name[-1]}", "this runtime reads version 2", "export the bundle again")
    elif name == "version 3":
        words += ("format version 3", "upgrade shadowdiffusion")
    else:
        words += ("not a valid manifest",)
    before = content(path)
    for command in ("inspect", "verify") if name == "version 1" else ("inspect",):
        assert_refused(call(command, path), *words)
    assert content(path) == before


@pytest.mark.parametrize("damage", [truncate, flip])
def test_a_damaged_checkpoint_makes_no_bundle(checkpoint: Path, damage: Callable[[Path], None]) -> None:
    damage(checkpoint)
    before = sorted(checkpoint.parent.iterdir())
    result = call("onnx", checkpoint, "-o", checkpoint.parent / "new")
    assert_refused(result, "both.safetensors", "damaged" if damage is flip else "truncated")
    assert sorted(checkpoint.parent.iterdir()) == before


def on_disk(
    kilobytes: int, mount: Path, *arguments: str | Path, copy: Path | None = None, read_only: bool = False
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """The command with a disk of that size at `mount`, which holds a copy of the folder `copy`.

    Returns the process and the names of all files and folders that are on the disk in the end.
    """
    mount.mkdir(exist_ok=True)
    script = """
        set -e
        mount -t tmpfs -o size="$1"k none "$2"
        [ -z "$3" ] || cp -r "$3" "$2/b"
        [ -z "$4" ] || mount -o remount,ro "$2"
        command_of_the_test="$5"; disk="$2"; shift 5
        set +e
        "$command_of_the_test" "$@"
        code=$?
        cd "$disk" && find . -mindepth 1 | sort > /dev/fd/3
        exit $code
    """
    reading, writing = os.pipe()
    command = ["unshare", "-rm", "sh", "-c", script.replace("/dev/fd/3", f"/dev/fd/{writing}"), "sh"]
    command += [str(kilobytes), str(mount), str(copy or ""), "ro" if read_only else ""]
    command += [sys.executable, "-m", "export", *map(str, arguments)]
    result = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=1200, check=False,
        pass_fds=[writing],
    )  # fmt: skip
    os.close(writing)
    with os.fdopen(reading) as names:
        return result, names.read().split()


def _can_mount() -> bool:
    command = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True, check=False).returncode == 0


needs_disks = pytest.mark.skipif(not _can_mount(), reason="this system lets no process mount a disk of its own")


def names_of(path: Path) -> list[str]:
    """What `on_disk` finds of a copy of this folder."""
    return sorted(["./b", *(f"./b/{file.relative_to(path)}" for file in path.rglob("*"))])


def kilobytes_of(path: Path) -> int:
    """Room that the files of a folder take, in whole pages: folders take none."""
    return sum(-(-file.stat().st_size // 4096) * 4 for file in path.rglob("*") if file.is_file())


@needs_disks
def test_pack_on_a_full_disk_leaves_nothing(path: Path, tmp_path: Path) -> None:
    result, names = on_disk(16, tmp_path / "disk", "pack", path, "-o", tmp_path / "disk" / "b.zip")
    assert_one_line(result.returncode, result.stderr, "cannot write", "b.zip", "No space left")
    assert names == []


@needs_disks
def test_verify_on_a_full_disk_keeps_the_manifest(path: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    room = kilobytes_of(path)
    result, names = on_disk(room, disk, "verify", disk / "b", copy=path)
    assert_one_line(result.returncode, result.stderr, "cannot write", "No space left")
    assert names == names_of(path)
    result, _ = on_disk(room + 64, disk, "verify", disk / "b", copy=path)
    assert result.returncode == 0, result.stderr


@needs_disks
@pytest.mark.slow
def test_kernels_on_a_full_disk_leave_the_bundle_alone(path: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    result, names = on_disk(kilobytes_of(path) + 64, disk, "kernels", disk / "b", "--sm", "90", copy=path)
    assert_one_line(result.returncode, result.stderr, "No space left")
    assert names == names_of(path)


@needs_disks
@pytest.mark.slow
def test_onnx_on_a_full_disk_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    result, names = on_disk(64, tmp_path / "disk", "onnx", checkpoint, "-o", tmp_path / "disk" / "new")
    assert_one_line(result.returncode, result.stderr, "No space left")
    assert names == []


@needs_disks
def test_a_read_only_disk_is_one_line_and_no_obstacle_to_verify(path: Path, checkpoint: Path, tmp_path: Path) -> None:
    add_engine(path, onnx={"denoiser.onnx": "0" * 64})  # what prune would drop
    disk, before = tmp_path / "disk", names_of(path)
    for arguments in (
        ("onnx", checkpoint, "-o", disk / "new"),
        ("pack", path, "-o", disk / "b.zip"),
        ("kernels", disk / "b", "--sm", "90"),
        ("prune", disk / "b"),
    ):
        result, names = on_disk(1024, disk, *arguments, copy=path, read_only=True)
        assert_one_line(result.returncode, result.stderr, "Read-only file system")
        assert names == before
    result, names = on_disk(1024, disk, "verify", disk / "b", "--json", copy=path, read_only=True)
    assert result.returncode == 0, result.stderr
    assert "cannot be written" in json.loads(result.stdout)["not_stored"]
    assert names == before


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_killed_export_leaves_nothing_that_counts(checkpoint: Path, tmp_path: Path, number: signal.Signals) -> None:
    """In the middle of the work. SIGKILL leaves a hidden scratch folder, which is no bundle and in nobody's way."""
    folder = tmp_path / "bundles"
    folder.mkdir()
    command = [sys.executable, "-m", "export", "onnx", str(checkpoint), "-o", str(folder / "new")]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + LONGEST
    while not list(folder.rglob("denoiser.onnx")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list(folder.rglob("denoiser.onnx")), "the export never began"
    process.send_signal(number)
    _, errors = process.communicate(timeout=LONGEST)
    assert "Traceback" not in errors
    left = list(folder.iterdir())
    if number != signal.SIGKILL:
        assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
        assert left == []
        return
    assert process.returncode == -signal.SIGKILL
    assert [(path.name[0], path.suffix) for path in left] == [(".", ".tmp")]
    with pytest.raises(BundleError):
        load_bundle(left[0])
    assert run("onnx", checkpoint, "-o", folder / "new").returncode == 0
    load_bundle(folder / "new")
