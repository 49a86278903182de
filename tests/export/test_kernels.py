"""`shadowdiffusion export kernels`: cubins in a bundle that still loads, and bundles without any."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("triton")

from shadowdiffusion.export.engines.lock import locked, writing
from shadowdiffusion.export.pack import pack
from shadowdiffusion.runtime.bundle.folder import Bundle, hash_files, parse_manifest, write_manifest
from shadowdiffusion.runtime.bundle.gpu_kernels import Kernel
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.errors import BundleError
from shadowdiffusion.runtime.gpu.program import needed_kernels
from tests.export.command_line import ROOT, environment

pytestmark = pytest.mark.xdist_group("compiled")


def add(*arguments: str | Path, interpret: bool = False) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, since kernel tests may have made this one interpret."""
    command = [sys.executable, "-m", "export", "kernels", *map(str, arguments)]
    changes = {"TRITON_INTERPRET": "1"} if interpret else {}
    return subprocess.run(
        command, cwd=ROOT, env=environment() | changes, capture_output=True, text=True, timeout=1200, check=False
    )


def generations(path: Path) -> dict[str, set[int]]:
    """For which SMs a bundle, which must be whole, has each of its kernels."""
    manifest = load_bundle(path).manifest
    assert {kernel.name for kernel in manifest.kernels} == needed_kernels(manifest.sampling)
    files = {build.file for kernel in manifest.kernels for build in kernel.builds}
    assert files == {name for name in manifest.files if name.startswith("kernels/")}
    return {kernel.name: {build.sm for build in kernel.builds} for kernel in manifest.kernels}


@pytest.fixture(scope="module")
def with_kernels(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with kernels for SM 80 and 90, typed as for build-engine."""
    path = Path(shutil.copytree(bundle.path, tmp_path_factory.mktemp("with kernels") / "b"))
    run = add(path, "--sm", "80", "90", "--json")
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert said["files"] == 2 * said["kernels"] == 2 * len(needed_kernels(bundle.manifest.sampling))
    return path


def test_kernels_are_added_to_what_is_there(bundle: Bundle, with_kernels: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(with_kernels, tmp_path / "b"))
    assert set(map(frozenset, generations(path).values())) == {frozenset({80, 90})}
    (path / "engines").mkdir()
    (path / "engines" / "note").write_text("stays")
    before = load_bundle(path).manifest
    run = add(path, "--sm", "86")
    assert run.returncode == 0, run.stderr
    assert set(map(frozenset, generations(path).values())) == {frozenset({80, 86, 90})}
    after = load_bundle(path).manifest
    assert {name: after.files[name] for name in before.files} == before.files, "what was there is as it was"
    assert {name for name in after.files if not name.startswith("kernels/")} == bundle.manifest.files.keys()
    for kernel in after.kernels:
        assert [build.sm for build in kernel.builds] == [80, 86, 90]
        assert {(build.cuda, build.driver) for build in kernel.builds} == {(12, 525)}
    assert (path / "engines" / "note").read_text() == "stays"
    assert [each.name for each in tmp_path.iterdir()] == ["b"]


def older(kernel: Kernel) -> Kernel:
    """The kernel as another version would have left it."""
    return msgspec.structs.replace(kernel, triton="3.5.0")


def test_kernels_of_another_version_are_compiled_again(with_kernels: Path, tmp_path: Path) -> None:
    """One record describes all generations."""
    path = Path(shutil.copytree(with_kernels, tmp_path / "b"))
    manifest = load_bundle(path).manifest
    kernels = [older(kernel) for kernel in manifest.kernels]
    gone = kernels[0].builds[0].file
    (path / gone).write_bytes(b"older")
    write_manifest(path, msgspec.structs.replace(manifest, kernels=kernels, files=hash_files(path)))
    run = add(path, "--sm", "90")
    assert run.returncode == 0, run.stderr
    assert "kernels for SM 80 are of another version" in run.stderr
    assert set(map(frozenset, generations(path).values())) == {frozenset({80, 90})}
    assert load_bundle(path).manifest.kernels == manifest.kernels
    assert (path / gone).read_bytes() == (with_kernels / gone).read_bytes()


def test_writers_take_turns(with_kernels: Path, tmp_path: Path) -> None:
    """The second waits, and works on the folder that the first has put in place."""
    path = Path(shutil.copytree(with_kernels, tmp_path / "b"))
    lines, runs = list[str](), list[subprocess.CompletedProcess[str]]()
    with writing(path):
        thread = threading.Thread(target=lambda: runs.append(add(path, "--sm", "80")))
        thread.start()
        second = threading.Thread(target=wait_and_note, args=(path, lines))
        second.start()
        while len(lines) < 1:
            time.sleep(0.01)
        os.rename(path, tmp_path / "old")
        shutil.copytree(tmp_path / "old", path)
        (path / "manifest.json").touch()
    second.join()
    thread.join()
    assert lines == [f"waiting for another process that is writing to {path}", "in"]
    assert runs[0].returncode == 0, runs[0].stderr
    assert set(map(frozenset, generations(path).values())) == {frozenset({80, 90})}


def wait_and_note(path: Path, lines: list[str]) -> None:
    with locked(path, lines.append):
        shutil.rmtree(path.with_name("old"))  # only the folder that is there now is locked
        assert (path / "manifest.json").is_file()
        lines.append("in")


def test_a_refused_build_leaves_the_bundle_alone(bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    before = (copy / "manifest.json").read_bytes()
    packed = tmp_path / "b.zip"
    pack(copy, packed)
    zipped = packed.read_bytes()
    refusals = {
        "capability 70": add(copy, "--sm", "70"),
        "SM 'x' is not a compute capability": add(copy, "--sm", "x"),
        "TRITON_INTERPRET": add(copy, interpret=True),
        "is not a bundle": add(tmp_path / "none"),
        "unzip it into a folder first": add(packed, "--sm", "80"),
    }
    for words, run in refusals.items():
        assert run.returncode == 2
        assert run.stderr.count("\n") == 1, run.stderr
        assert words in run.stderr
    assert (copy / "manifest.json").read_bytes() == before
    assert packed.read_bytes() == zipped
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "copy"]
    load_bundle(copy)


def test_a_manifest_may_lack_kernels_but_not_their_files(bundle: Bundle) -> None:
    manifest = json.loads((bundle.path / "manifest.json").read_bytes())
    manifest.pop("kernels", None)  # as older exporters wrote it
    assert parse_manifest(json.dumps(manifest).encode()).kernels == []
    build = {"sm": 90, "file": "kernels/sm_90/k.cubin", "registers": 8, "spilled": 0, "shared": 0}
    kernel = {"name": "k", "entry": "k", "arguments": [], "constants": {}, "grid": ["1", "1", "1"], "warps": 4}
    manifest["kernels"] = [kernel | {"source": "0" * 64, "triton": "3.6.0", "builds": [build]}]
    with pytest.raises(BundleError, match=r"k\.cubin of kernel k is not listed"):
        parse_manifest(json.dumps(manifest).encode())
