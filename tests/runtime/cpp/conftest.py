"""The C++ library, built once into build/release/ and from then on only what has changed."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.runtime.cpp.library import Library

ROOT = Path(__file__).resolve().parents[3]
BUILD = ROOT / "build" / "release"
ABSENT = re.compile("Could NOT find|Could not find a package|required packages were not found|Package '")
"""What CMake says where a library is not installed."""


@pytest.fixture(scope="session")
def library() -> Library:
    _build()
    if (package := find_spec("onnxruntime")) and package.origin:
        os.environ.setdefault("SHADOWDIFFUSION_ONNXRUNTIME", str(Path(package.origin).parent / "capi"))
    return Library(next(BUILD.glob("lib*/**/libshadowdiffusion.so")))


def _build() -> None:
    """Build the library; whoever else wants to build in this folder waits. Skip the test where something is absent."""
    for program in ("cmake", "ninja", "c++"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (docs/cpp.md has the line)")
    if find_spec("openvino") is None:
        pytest.skip("openvino is not installed: pip install openvino")
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = import_module("openvino.utils").get_cmake_path()
        options = [f"-DOpenVINO_DIR={folder}"]
        if header := os.environ.get("ONNXRUNTIME_INCLUDE_DIR"):
            options.append(f"-DONNXRUNTIME_INCLUDE_DIR={header}")
        configured = _run("cmake", "--preset", "release", *options)
        if configured.returncode != 0:
            missing = next((line for line in configured.stderr.splitlines() if ABSENT.search(line)), None)
            if missing:
                pytest.skip(f"a library is not installed (docs/cpp.md has the line): {missing.strip()}")
            pytest.fail(configured.stderr)
        built = _run("cmake", "--build", str(BUILD), "--target", "shadowdiffusion")
        assert built.returncode == 0, built.stdout


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
