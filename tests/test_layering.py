"""Who may import whom, and `--help` stays quick because heavy packages load late."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deadlines import LONGEST
from tests.imports import imported

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
ENTRY_POINTS = {"training/cli.py", "kernels/ahead_of_time.py"}
HEAVY = {"torch", "onnx", "onnxscript", "onnxruntime", "pyvips", "accelerate", "triton", "scipy", "skimage"}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "core", "misc"}


def sources(folder: str) -> Iterator[Path]:
    yield from sorted((ROOT / folder).rglob("*.py"))


def of_file(path: Path) -> Iterator[tuple[str, int]]:
    yield from imported([ast.parse(path.read_text(encoding="utf-8"), str(path))], path.relative_to(ROOT).parts[0])


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_imports_only_what_it_may(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in sources(folder)
        for module, line in of_file(path)
        if module.split(".")[0] in FORBIDDEN[folder]
        and not (module == ADVICE and str(path.relative_to(ROOT)) in ENTRY_POINTS)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "line",
    [
        "from shadowdiffusion import training",
        "from shadowdiffusion.training import sampler",
        "import shadowdiffusion.training.sampler",
        "import_module('shadowdiffusion.training.sampler')",
        "import training",
    ],
)
def test_an_import_is_found_in_every_form(line: str) -> None:
    assert [name.split(".")[0] for name, _ in imported([ast.parse(f"def f():\n    {line}")])] == ["training"]


def test_no_file_has_a_name_that_means_nothing() -> None:
    vague = [
        str(path.relative_to(ROOT))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.stem in VAGUE_NAMES and (path.is_dir() or path.suffix == ".py")
    ]
    assert not vague, vague


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
