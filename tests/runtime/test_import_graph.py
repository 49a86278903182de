"""The runtime restores a photo where nothing but its own dependencies can be imported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from tests.deadlines import LONGEST
from tests.runtime.tiny import picture, save

ROOT = Path(__file__).resolve().parents[2]
MOST_MEGABYTES = 215
"""The runtime's dependencies, installed; what README.md says."""

RESTORE = """
import json, sys

allowed, photo, result = set(sys.argv[1].split(",")), sys.argv[2], sys.argv[3]

class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in allowed | set(sys.stdlib_module_names) and not top.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
from shadowdiffusion.runtime.commands.cli import main
sys.argv = ["shadowdiffusion", "restore", photo, "-o", result, "--steps", "1", "--quiet"]
try:
    main()
finally:
    names = {name.removeprefix("shadowdiffusion.") for name in sys.modules}
    print(json.dumps(sorted({name.split(".")[0] for name in names} - set(sys.stdlib_module_names))))
"""


def requirements() -> set[str]:
    """Distributions that installing the package alone brings, with what those need in turn."""
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    found, waiting = set[str](), list(stated)
    while waiting:
        text = waiting.pop()
        match = re.match(r"([A-Za-z0-9._-]+)(\[[a-z,]+\])?([^;]*)(;.*)?", text)
        assert match is not None
        name, extras, marker = match[1].lower().replace("_", "-"), match[2] or "", match[4] or ""
        wanted = re.search(r"extra == ['\"]([a-z]+)['\"]", marker)
        if "platform" in marker or "python_" in marker or wanted:
            continue
        if extras:
            waiting += [f"{name}-{extra}" for extra in extras.strip("[]").split(",")]
        if name not in found:
            try:
                waiting += distribution(name).requires or []
            except PackageNotFoundError:
                continue
            found.add(name)
    return found


def test_a_photo_is_restored_with_everything_else_blocked(tmp_path: Path) -> None:
    """Whatever the development environment has installed: PyTorch, Triton, ONNX, the exporter and the trainer."""
    tops = {
        line.split("/")[0].split(".")[0]
        for name in requirements()
        for line in map(str, distribution(name).files or [])
        if not line.startswith("..")
    }
    photo, result = save(tmp_path / "photo.png", picture(40, 60)), tmp_path / "result.png"
    command = [sys.executable, "-c", RESTORE, ",".join({*tops, "shadowdiffusion"}), str(photo), str(result)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST)
    assert run.returncode == 0, run.stderr[-2000:]
    assert result.is_file()
    loaded = set(json.loads(run.stdout.splitlines()[-1]))
    assert "runtime" in loaded
    assert not loaded & {"torch", "triton", "onnx", "onnxscript", "training", "export", "kernels", "benchmarks"}


def test_the_dependencies_are_as_small_as_the_readme_says() -> None:
    size = sum(
        file.stat().st_size
        for name in requirements()
        for each in distribution(name).files or []
        if (file := Path(str(each.locate()))).is_file()
    )
    assert 50e6 < size < MOST_MEGABYTES * 1e6, f"{size / 1e6:.0f} MB: state it in README.md and here"
