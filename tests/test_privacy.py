"""Nothing is written to the home folder but our own cache, and nothing is sent: ONNX Runtime's telemetry stays off."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.imports import imported
from tests.runtime.tiny import picture, save, write_bundle

ROOT = Path(__file__).resolve().parents[1]
SWITCH = "ORT_DISABLE_TELEMETRY"
CALLS = "socket,connect,sendto,sendmsg,sendmmsg"


def early(source: str) -> list[int]:
    """Lines that import ONNX Runtime in a module that has not imported `runtime`, which switches telemetry off."""
    tree = ast.parse(source)
    plain = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    first = min((line for name, line in imported(plain) if name.split(".")[0] == "runtime"), default=None)
    found = [line for name, line in imported(tree.body) if name.split(".")[0] == "onnxruntime"]
    return [line for line in found if first is None or line < first]


def test_runtime_is_imported_before_onnx_runtime() -> None:
    """In `runtime` itself it always is, and in the tests: conftest.py begins with it."""
    files = [
        path for folder in ("export", "benchmarks", "training", "kernels") for path in (ROOT / folder).rglob("*.py")
    ]
    assert len(files) > 100
    wrong = {str(path.relative_to(ROOT)): lines for path in files if (lines := early(path.read_text("utf-8")))}
    assert not wrong


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import onnxruntime\nfrom shadowdiffusion import runtime", [1]),
        ("from shadowdiffusion.runtime.errors import RestoreError\ndef f():\n    from onnxruntime.tools import x", []),
        ("def f():\n    from shadowdiffusion import runtime\n    import onnxruntime as ort", [3]),
        ("importlib.import_module('onnxruntime')", [1]),
        ("if TYPE_CHECKING:\n    from shadowdiffusion import runtime\nimport onnxruntime", [3]),
    ],
)
def test_early_imports_are_found(source: str, lines: list[int]) -> None:
    assert early(source) == lines


@pytest.mark.parametrize("package", ["shadowdiffusion.runtime.errors", "shadowdiffusion.export.commands.console"])
@pytest.mark.parametrize("chosen", [None, "0"])
def test_entry_points_switch_telemetry_off_unless_the_user_has_chosen(package: str, chosen: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != SWITCH}
    environment |= {SWITCH: chosen} if chosen else {}
    code = f"import os, sys; import {package}; print(os.environ[{SWITCH!r}], 'onnxruntime' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == [chosen or "1", "False"]


@pytest.fixture(scope="module")
def traced() -> list[str]:
    """What to put before a command so that its network calls are recorded, [] where nothing can."""
    command = ["strace", "-f", "--seccomp-bpf", "-e", f"trace={CALLS}", "-o"]
    if shutil.which("strace") is None or subprocess.run([*command, os.devnull, "true"], check=False).returncode:
        return []
    return command


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, traced: list[str]) -> Path:
    """A folder with home/, after a photo was restored and an engine built and verified, and what each called."""
    folder = tmp_path_factory.mktemp("privacy")
    (folder / "home").mkdir()
    write_bundle(folder / "bundle", golden=True)
    save(folder / "photo.png", picture(40, 60))
    unwanted = {SWITCH, "XDG_CACHE_HOME"}
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    environment |= {"HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
    for number, command in enumerate(
        [
            ["runtime", "restore", "photo.png", "-o", "restored.png", "--bundle", "bundle"],
            ["export", "build-engine", "bundle", "--backend", "onnxruntime"],
            ["export", "verify", "bundle"],
        ]
    ):
        trace = [*traced, str(folder / f"calls-{number}")] if traced else []
        done = subprocess.run(
            [*trace, sys.executable, "-m", *command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert (folder / "restored.png").is_file()
    assert list((folder / "bundle" / "engines").iterdir())
    return folder


def test_home_has_nothing_but_our_own_cache(run: Path) -> None:
    files = [path.relative_to(run / "home") for path in (run / "home").rglob("*") if path.is_file()]
    assert [path.parts[:3] for path in files] == [(".cache", "shadowdiffusion", "checks")]


def test_no_socket_is_opened(run: Path, traced: list[str]) -> None:
    if not traced:
        pytest.skip("strace is not installed, or may not trace here")
    files = sorted(run.glob("calls-*"))
    assert len(files) == 3
    calls = [line for file in files for line in file.read_text("utf-8", "replace").splitlines()]
    assert calls  # the ends of the processes at least
    # A Unix socket may be the name service's: it never leaves the machine.
    assert not [line for line in calls if "AF_INET" in line]
