"""build-engine as it is typed: numbers after --sm, options that do not go together, and the example of its help."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from shadowdiffusion.export.commands.cli import app
from shadowdiffusion.export.commands.engine_commands import EXAMPLE
from shadowdiffusion.export.engines import build as build_module
from shadowdiffusion.export.engines.conflicts import check_options
from shadowdiffusion.export.engines.key import EngineOptions
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.sms import join_sms


@pytest.mark.parametrize(
    ("typed", "joined"),
    [
        ("--sm 80 86 89 120 B", "--sm 80,86,89,120 B"),
        ("B --sm 80 86 --force", "B --sm 80,86 --force"),
        ("--sm 89,120 B", "--sm 89,120 B"),
        ("--sm=80 86 B", "--sm=80,86 B"),
        ("--sm 80 --sm 86 B", "--sm 80 --sm 86 B"),
        ("--sm 80 8.9 B", "--sm 80,8.9 B"),
        ("--sm 89 ./86", "--sm 89 ./86"),
        ("--workspace 512 --sm 89 B", "--workspace 512 --sm 89 B"),
        ("--workspace 512 86", "--workspace 512 86"),
        ("--sm", "--sm"),
        ("B --sm 89 --batch 1", "B --sm 89 --batch 1"),
    ],
)
def test_numbers_after_sm_are_its_values(typed: str, joined: str) -> None:
    assert join_sms(typed.split()) == joined.split()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, EngineOptions]]:
    """What the command would build; nothing is."""
    calls: list[tuple[Path, EngineOptions]] = []

    def stop(path: Path, options: EngineOptions, report: Any, bar: Any) -> None:
        calls.append((path, options))
        raise ExportError("stopped here")

    monkeypatch.setattr(build_module, "build_engines", stop)
    return calls


def test_the_example_of_the_help_is_a_command(asked: list[tuple[Path, EngineOptions]]) -> None:
    result = CliRunner().invoke(app, ["build-engine", "--help"])
    line = EXAMPLE.strip().splitlines()[-1].strip()
    assert line in result.stdout  # on one line, so that it can be copied
    program, word, *arguments = shlex.split(line)
    assert (program, word) == ("shadowdiffusion", "export")
    assert "stopped here" in CliRunner().invoke(app, arguments).stderr
    assert asked == [(Path("mine"), EngineOptions("tensorrt-rtx", sm=(86, 89)))]


def test_every_option_arrives(asked: list[tuple[Path, EngineOptions]]) -> None:
    typed = """build-engine --sm 80 86 89 120 B --backend tensorrt-rtx --precision fp16 --profile 64x64 --batch 2
        --optimization-level 5 --workspace 512 --strip-weights --version-compatible --hardware-compatible --gate 45.5
        --photo a.jpg --photo b.jpg --threads 3 --provider cpu --force"""
    CliRunner().invoke(app, typed.split())
    ((path, options),) = asked
    assert path == Path("B")
    assert options == EngineOptions(
        "tensorrt-rtx",
        "fp16",
        profile="64x64",
        batch="2",
        sm=(80, 86, 89, 120),
        optimization_level=5,
        workspace=512,
        strip_weights=True,
        version_compatible=True,
        hardware_compatible=True,
        gate=45.5,
        photos=(Path("a.jpg"), Path("b.jpg")),
        threads=3,
        provider="cpu",
        force=True,
    )


@pytest.mark.parametrize("where", ["--with", "--without"])
def test_an_unknown_pass_is_one_line(where: str, asked: list[Any]) -> None:
    result = CliRunner().invoke(app, ["build-engine", "B", "--backend", "tensorrt-rtx", where, "mystery"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "mystery" in result.stderr
    assert not asked


@pytest.mark.parametrize(
    ("backend", "changes", "words"),
    [
        ("tensorrt", {"sm": (89,)}, r"--sm does not go with --backend tensorrt: leave out --sm"),
        ("tensorrt", {"threads": 2}, r"--threads .* it is for --backend onnxruntime"),
        ("tensorrt", {"provider": "cpu"}, r"--provider .* it is for --backend onnxruntime"),
        ("tensorrt-rtx", {"version_compatible": True}, r"--version-compatible .* it is for --backend tensorrt$"),
        ("tensorrt-rtx", {"hardware_compatible": True}, r"--hardware-compatible .* --sm names"),
        ("tensorrt-rtx", {"threads": 2}, r"--threads .* onnxruntime"),
        ("onnxruntime", {"sm": (89,)}, r"--sm .* it is for --backend tensorrt-rtx"),
        ("onnxruntime", {"strip_weights": True}, r"--strip-weights .* it is for --backend tensorrt"),
        ("onnxruntime", {"workspace": 5}, r"--workspace .* it is for --backend tensorrt"),
        ("onnxruntime", {"passes": {"packed-input": False}}, r"packed-input .* it is for --backend tensorrt"),
        (
            "onnxruntime",
            {"optimization_level": 5},
            r"--optimization-level .* it is for --backend tensorrt and tensorrt-rtx",
        ),
        (
            "cpu-kernels",
            {"optimization_level": 0},
            r"--optimization-level .* it is for --backend tensorrt and tensorrt-rtx",
        ),
        ("tensorrt-rtx", {"gate": 40.0}, r"--gate does not go with --precision fp32"),
    ],
)
def test_options_that_mean_nothing_are_refused(backend: Any, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ExportError, match=words):
        check_options(EngineOptions(backend, **changes))


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx", "onnxruntime"])
def test_what_a_backend_can_follow_is_not_refused(backend: Any) -> None:
    level = 3 if backend == "onnxruntime" else 5
    check_options(EngineOptions(backend, "fp16", "64x64", "1", optimization_level=level, force=True, gate=45.0))


def test_a_wrong_number_after_sm_is_one_line() -> None:
    for typed in ("--sm 8.9", "--sm 80 8.9"):
        result = CliRunner().invoke(app, ["build-engine", *typed.split(), "B", "--backend", "tensorrt-rtx"])
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert "'8.9'" in result.stderr
