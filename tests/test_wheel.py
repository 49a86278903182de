"""The wheel owns one name, so that it stands beside packages that are called as our folders are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.deadlines import LONGEST

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("training", "kernels", "export", "runtime", "benchmarks")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
IMPORTS = """
import json, kernels
from shadowdiffusion import kernels as ours
from shadowdiffusion.runtime.bundle.folder import DEFAULT_BUNDLE
print(json.dumps([kernels.__file__, ours.__file__, str(DEFAULT_BUNDLE)]))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the files that git knows: what lies about in a checkout does not hide what a clone would lack."""
    clone, folder = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("wheel")
    names = subprocess.run(("git", "ls-files", "-z"), cwd=ROOT, capture_output=True, check=True).stdout
    archive = subprocess.run(("tar", "--null", "-T", "-", "-c"), cwd=ROOT, input=names, capture_output=True, check=True)
    subprocess.run(("tar", "-x"), cwd=clone, input=archive.stdout, check=True)
    subprocess.run((*PIP, "wheel", "--no-deps", "-w", str(folder), str(clone)), check=True, timeout=LONGEST)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_holds_every_module_below_one_name(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"shadowdiffusion"}
    modules = {f"shadowdiffusion/{path.relative_to(ROOT)}" for name in FOLDERS for path in (ROOT / name).rglob("*.py")}
    assert modules <= names
    data = {f"shadowdiffusion/runtime/builtin/{task}/manifest.json" for task in ("shadow", "exposure", "low-light")}
    assert data | {"shadowdiffusion/training/configs/exposure-small-prior.toml"} <= names


def test_it_stands_beside_the_package_kernels(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "site"
    subprocess.run((*PIP, "install", "--target", str(place), "kernels"), check=True, timeout=LONGEST)
    install = (*PIP, "install", "--no-deps", "--target", str(place), str(wheel))
    subprocess.run(install, check=True, timeout=LONGEST)
    environment = {**os.environ, "PYTHONPATH": str(place)}
    words = (sys.executable, "-c", IMPORTS)
    run = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LONGEST)
    assert run.returncode == 0, run.stderr
    theirs, ours, bundle = json.loads(run.stdout)
    assert Path(theirs) == place / "kernels" / "__init__.py"
    assert Path(ours) == place / "shadowdiffusion" / "kernels" / "__init__.py"
    photo, result = ROOT / "docs" / "example" / "shadow.jpg", tmp_path / "restored.jpg"
    command = (sys.executable, "-m", "shadowdiffusion.runtime", "restore", str(photo), "-o", str(result))
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LONGEST)
    assert run.returncode == 0, run.stderr
    assert Path(bundle) == place / "shadowdiffusion" / "runtime" / "builtin" / "shadow"
    assert result.is_file()
