"""Every verb has help with examples that work, --json, and a progress bar on a terminal."""

from __future__ import annotations

import json
import os
import pty
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from shadowdiffusion.export.commands.cli import app
from shadowdiffusion.export.commands.console import terminal_bar
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.training.checkpoint import Model, save_checkpoint
from tests.deadlines import LONGEST
from tests.export.command_line import environment, run
from tests.runtime.tiny import picture, save

VERBS = ("onnx", "kernels", "build-engine", "inspect", "prune", "pack", "verify", "debug")
SLOW = {"kernels", "build-engine"}


def help_of(verb: str) -> str:
    result = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    return result.stdout


def examples(verb: str) -> list[list[str]]:
    """The arguments of the lines that the help ends with, as they are copied from a terminal of 80 columns."""
    lines = [line.strip() for line in help_of(verb).splitlines()]
    return [shlex.split(line)[2:] for line in lines if line.startswith("shadowdiffusion export ")]


def test_these_are_all_verbs() -> None:
    assert sorted(typer.main.get_command(app).commands) == sorted(VERBS)  # type: ignore[attr-defined]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_json_and_examples(verb: str) -> None:
    assert "--json" in help_of(verb)
    assert examples(verb)
    for arguments in examples(verb):
        assert arguments[0] == verb


@pytest.fixture
def workplace(bundle: Bundle, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the examples name."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for place in ("bundles/shadow", "bundles/mine", "mine"):
        shutil.copytree(bundle.path, tmp_path / place)
    save_checkpoint(tmp_path / "both.safetensors", model)
    save_checkpoint(tmp_path / "denoiser.safetensors", Model(model.denoiser, None))
    save_checkpoint(tmp_path / "prior.safetensors", Model(None, model.prior))
    save(tmp_path / "photo.jpg", picture(120, 200))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in SLOW])
def test_examples_run(verb: str, workplace: Path, exported: None) -> None:
    if verb == "debug":
        pytest.importorskip("polygraphy")
    for arguments in examples(verb):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        assert result.stdout
        if "--json" in arguments:
            assert isinstance(json.loads(result.stdout), dict)


@pytest.mark.slow
@pytest.mark.parametrize("verb", sorted(SLOW))
def test_examples_that_compile_run(verb: str, workplace: Path) -> None:
    pytest.importorskip("triton" if verb == "kernels" else "tensorrt_rtx")
    for arguments in examples(verb):
        result = run(*arguments, "--json", cwd=workplace)
        assert result.returncode == 0, result.stderr
        assert isinstance(json.loads(result.stdout), dict)
        load_bundle(workplace / arguments[1])


def on_terminal(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    """(exit code, stdout, what a terminal of 100 columns got from stderr) of Python with these arguments."""
    terminal, theirs = pty.openpty()
    variables = environment() | {"TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, *arguments]
    process = subprocess.Popen(command, cwd=cwd, env=variables, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux says EIO when the other side is closed
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    assert process.stdout is not None
    output = process.stdout.read().decode()
    process.stdout.close()
    return process.wait(timeout=LONGEST), output, shown.decode()


def test_a_terminal_shows_a_bar_and_json_stays_clean(workplace: Path) -> None:
    arguments = ("-m", "export", "verify", "bundles/shadow", "--against", "both.safetensors", "--json")
    code, output, shown = on_terminal(*arguments, cwd=workplace)
    assert code == 0, shown
    assert json.loads(output)["passed"]
    assert "comparing the networks" in shown  # the report's line
    assert "ONNX: " in shown  # the bar's title and phase
    assert "━" in shown


def test_elsewhere_there_is_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal_bar("title") as progress:
        progress(0.5, "phase")
    assert capsys.readouterr() == ("", "")
