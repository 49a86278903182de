"""Every entry point without the packages of the extras: one line that says what to install, and exit code 2."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from shadowdiffusion.runtime.packages import EXTRAS, install_command, missing_package
from tests.imports import imported

ROOT = Path(__file__).resolve().parents[2]
BASE = {"cffi", "msgspec", "numpy", "onnxruntime", "pyvips", "rich", "typer"}
DISTRIBUTIONS = {"pi_heif": "pi-heif", "skimage": "scikit-image", "tensorrt_rtx": "tensorrt-rtx"}
"""Names on the package index of packages whose import has another; ml_dtypes comes with onnx."""
COMPILING = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}

NEEDED = {"build-engine": "engines", "kernels": "kernels"}
"""The extras of commands of `export` that need less than PyTorch."""

WITHOUT = """
import contextlib, importlib, io, json, sys

folder, blocked, commands = sys.argv[1], set(json.loads(sys.argv[2])), json.loads(sys.argv[3])

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
module = {"export": "export.commands.cli"}.get(folder, folder + ".cli")
app = importlib.import_module("shadowdiffusion." + module).app
found = {}
for command in commands:
    said = io.StringIO()
    sys.argv = [folder, *command]
    with contextlib.redirect_stderr(said):
        try:
            code = app(command, standalone_mode=False)
        except SystemExit as error:
            code = error.code
        except Exception as error:
            code = repr(error)
    found[command[0]] = (code, said.getvalue())
names = [command.name or command.callback.__name__.replace("_", "-") for command in app.registered_commands]
print(json.dumps([sorted(names), found]))
"""

CHECKPOINT, DATA, NEW = "prior.safetensors", "photos", "new"
CONFIG = ["--config", "shadow-small-prior", "--data", DATA]
MEASURED = ["latency", "startup", "memory", "scaling"]
COMMANDS: dict[str, list[list[str]]] = {
    "training": [
        ["fit", *CONFIG, "-o", NEW],
        ["average", CHECKPOINT, CHECKPOINT, "-o", NEW],
        ["evaluate", CHECKPOINT, "--data", DATA],
        ["noise-levels", CHECKPOINT, "--data", DATA],
        ["import-checkpoint", "x_gen.pth", "-o", NEW],
        ["contact-sheet", *CONFIG, "-o", "sheet.png"],
        ["make-pairs", *CONFIG, "-o", NEW],
    ],
    "export": [
        ["onnx", CHECKPOINT, "-o", NEW],
        ["kernels", "bundle"],
        ["build-engine", "bundle", "--backend", "onnxruntime"],
        ["inspect", "bundle"],
        ["verify", "bundle", "--against", CHECKPOINT],
        ["debug", "bundle"],
    ],
    "benchmarks": [
        *([name, "--smoke"] for name in MEASURED),
        ["kernels", "--smoke"],
        ["precision"],
        ["sampling", CHECKPOINT, "--data", DATA],
        *([name, "--data", DATA] for name in ("quality", "full-size", "native", "wide-gamut")),
    ],
}
WITHOUT_ANY = {"export": {"prune", "pack"}, "benchmarks": {"compare", "report"}, "training": set[str]()}
"""Commands that need nothing but the base packages."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of every kind that the commands ask for."""
    folder = tmp_path_factory.mktemp("here")
    shutil.copytree(ROOT / "runtime" / "builtin" / "shadow", folder / "bundle")
    for photo in ("train/a", "val/a", "shadow/a", "clean/a", "mask/a"):
        (folder / DATA / photo).parent.mkdir(parents=True, exist_ok=True)
        (folder / DATA / f"{photo}.jpg").write_bytes((ROOT / "docs" / "example" / "shadow.jpg").read_bytes())
    for name in (CHECKPOINT, "x_gen.pth"):
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize("folder", COMMANDS)
def test_commands_without_their_packages_say_what_to_install(folder: str, here: Path) -> None:
    arguments = [folder, json.dumps(sorted(EXTRAS)), json.dumps(COMMANDS[folder])]
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments],
        cwd=here,
        env={**COMPILING, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    names, found = json.loads(run.stdout.splitlines()[-1])
    assert set(names) == found.keys() | WITHOUT_ANY[folder]
    own = {"training": "train", "export": "export", "benchmarks": "benchmark"}[folder]
    for command, (code, said) in found.items():
        assert code == 2, f"{command}: {code}, {said}"
        last = said.splitlines()[-1]
        assert sum("error" in line for line in said.splitlines()) == 1, f"{command}: {said}"
        match = re.fullmatch(r"error: (\w+) is not installed: pip install '(.+)\[([a-z,-]+)\]'", last)
        assert match, f"{command}: {said}"
        assert Path(match[2]) == ROOT
        assert NEEDED.get(command, own) in match[3].split(",")
        assert set(EXTRAS[match[1]].split(",")) & set(match[3].split(",")), f"{command}: {last}"


def test_kernels_without_triton_say_what_to_install(tmp_path: Path) -> None:
    block = "import sys; sys.modules['triton'] = None; from shadowdiffusion.kernels.ahead_of_time import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", block, str(tmp_path)],
        cwd=ROOT,
        env=COMPILING,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "error: triton is not installed: pip install '.[kernels]'\n"


def test_command_is_of_the_checkout_or_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert install_command("train", "export") == "pip install '.[train,export]'"
    monkeypatch.chdir(tmp_path)
    assert install_command("train") == f"pip install '{ROOT}[train]'"
    monkeypatch.setattr("shadowdiffusion.runtime.packages.__file__", str(tmp_path / "runtime" / "packages.py"))
    assert install_command("train") == "pip install 'shadowdiffusion[train]'"
    assert install_command() == "pip install 'shadowdiffusion'"


def test_line_names_the_extra_that_brings_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    triton = ModuleNotFoundError("No module named 'triton'", name="triton.language")
    assert missing_package(triton, "export") == "triton is not installed: pip install '.[export,kernels]'"
    torch = ModuleNotFoundError("No module named 'torch'", name="torch")
    assert missing_package(torch, "benchmark", "train") == "torch is not installed: pip install '.[benchmark,train]'"
    broken = ImportError("libcudart.so.13: cannot open\nshared object file", name="torch")
    line = "a package cannot be imported (libcudart.so.13: cannot open shared object file): pip install '.[train]'"
    assert missing_package(broken) == line
    name = "shadowdiffusion.training.gone"
    with pytest.raises(ModuleNotFoundError, match=name):
        missing_package(ModuleNotFoundError(f"No module named {name!r}", name=name), "train")


def test_extras_are_those_of_the_project() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    brought = {name: {re.split(r"[<>=\[; ]", each)[0] for each in each_extra} for name, each_extra in extras.items()}
    for package, names in EXTRAS.items():
        for extra in names.split(","):
            assert "onnx" if package == "ml_dtypes" else DISTRIBUTIONS.get(package, package) in brought[extra]


def test_every_imported_package_is_in_the_base_or_in_an_extra() -> None:
    own = {"training", "kernels", "export", "runtime", "benchmarks", *sys.stdlib_module_names}
    found = set[str]()
    for folder in ("training", "kernels", "export", "runtime", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            found |= {name.split(".")[0] for name, _ in imported([ast.parse(path.read_text("utf-8"))])}
    optional = {"lpips"}  # the LPIPS column, where somebody has installed it and its weights
    assert found - own - BASE - optional <= EXTRAS.keys()
