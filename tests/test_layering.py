"""Who may import whom, and `--help` stays quick because heavy packages load late."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deadlines import LONGEST

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("training", "kernels", "export", "runtime", "benchmarks")
FORBIDDEN = {
    "training": {"export", "runtime", "kernels", "benchmarks", "tests", "onnx", "onnxscript", "onnxruntime"},
    "kernels": {"training", "export", "runtime", "benchmarks", "tests"},
    "export": {"benchmarks", "tests"},
    "runtime": {
        *(
            "torch",
            "triton",
            "onnx",
            "onnxscript",
            "safetensors",
            "accelerate",
            "tensorboard",
            "scipy",
            "skimage",
        ),
        *("PIL", "training", "kernels", "export", "benchmarks", "tests"),
    },
    "benchmarks": {"tests"},
}
ADVICE = "runtime.packages"
"""The home of the advice on missing packages, which the entry points of training and kernels may import."""
ENTRY_POINTS = {"training/__main__.py", "kernels/ahead_of_time.py"}
DYNAMIC = {"importlib.import_module", "import_module", "__import__"}
HEAVY = {"torch", "onnx", "onnxscript", "onnxruntime", "pyvips", "accelerate", "triton", "scipy", "skimage"}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "core", "misc"}


def sources(folder: str) -> Iterator[Path]:
    yield from sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """(module, line) of every import in a file, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parts[0] if node.level else (node.module or "")
            yield package, node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in DYNAMIC:
            argument = node.args[0] if node.args else None
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield argument.value, node.lineno


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_imports_only_what_it_may(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in sources(folder)
        for module, line in imported(path)
        if module.split(".")[0] in FORBIDDEN[folder]
        and not (module == ADVICE and str(path.relative_to(ROOT)) in ENTRY_POINTS)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_file_has_a_name_that_means_nothing() -> None:
    vague = [
        str(path.relative_to(ROOT))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.stem in VAGUE_NAMES and (path.is_dir() or path.suffix == ".py")
    ]
    assert not vague, vague


def test_no_file_exceeds_the_length_at_which_it_is_no_longer_one_idea() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for folder in FOLDERS
        for path in sources(folder)
        if (lines := path.read_text(encoding="utf-8").count("\n")) > 400
    ]
    assert not long, long


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if (ROOT / folder / "__main__.py").exists()])
def test_help_loads_nothing_heavy(folder: str) -> None:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", folder, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONGEST,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    loaded = {line.rsplit("|", 1)[-1].strip() for line in run.stderr.splitlines() if line.startswith("import time:")}
    assert not loaded & HEAVY
