"""`python -m export kernels`: cubins in a bundle that still loads, and bundles without any."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

from runtime.bundle.folder import Bundle, parse_manifest
from runtime.bundle.opening import load_bundle
from runtime.errors import BundleError

ROOT = Path(__file__).resolve().parents[2]


def add(*arguments: str | Path, interpret: bool = False) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, since kernel tests may have made this one interpret."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_INTERPRET": "1"} if interpret else {}
    command = [sys.executable, "-m", "export", "kernels", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200)


@pytest.mark.slow
def test_kernels_are_added_and_replaced(bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    before = load_bundle(copy).manifest
    assert before.kernels == []
    for capability in (80, 90):
        run = add(copy, "--sm", str(capability))
        assert run.returncode == 0, run.stderr
        manifest = load_bundle(copy).manifest
        files = {build.file for kernel in manifest.kernels for build in kernel.builds}
        assert files == {name for name in manifest.files if name.startswith("kernels/")}
        assert {build.sm for kernel in manifest.kernels for build in kernel.builds} == {capability}
        assert {name: entry for name, entry in manifest.files.items() if name not in files} == before.files
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_refused_build_leaves_the_bundle_alone(bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    before = (copy / "manifest.json").read_bytes()
    unsupported, interpreted, missing = add(copy, "--sm", "70"), add(copy, interpret=True), add(tmp_path / "none")
    for run, words in ((unsupported, "capability 70"), (interpreted, "TRITON_INTERPRET"), (missing, "does not exist")):
        assert run.returncode == 2
        assert run.stderr.count("\n") == 1
        assert words in run.stderr
    assert (copy / "manifest.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
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
