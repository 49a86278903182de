"""The native library, built once into build/tests/ and from then on only what has changed."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.runtime.native.library import Library

ROOT = Path(__file__).resolve().parents[3]
BUILD = ROOT / "build" / "tests"
ABSENT = ("Could NOT find", "Could not find a package", "required packages were not found", "Package '")
"""What CMake says where a library is not installed."""


@pytest.fixture(scope="session")
def library() -> Library:
    for program in ("cmake", "ninja", "c++"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (docs/native.md has the line)")
    if find_spec("openvino") is None:
        pytest.skip("openvino is not installed: pip install openvino")
    from openvino.utils import get_cmake_path

    options = ["-DSHADOWDIFFUSION_CLI=OFF", "-DSHADOWDIFFUSION_TESTS=OFF", f"-DOpenVINO_DIR={get_cmake_path()}"]
    configured = _run("cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(BUILD), *options)
    if configured.returncode != 0:
        missing = [line for line in configured.stderr.splitlines() if any(words in line for words in ABSENT)]
        if missing:
            pytest.skip(f"a library is not installed (docs/native.md has the line): {missing[0].strip()}")
        pytest.fail(configured.stderr)
    built = _run("cmake", "--build", str(BUILD))
    assert built.returncode == 0, built.stdout
    return Library(next(BUILD.glob("lib*/**/libshadowdiffusion.so")))


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)
