"""The doctor says what is here, what is chosen and why; and finds what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shadowdiffusion.runtime.commands.cli import app
from tests.runtime.tiny import write_bundle


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("doctor") / "bundle", golden=True)


def findings(*arguments: str, code: int = 0) -> dict[str, tuple[str, bool]]:
    result = CliRunner().invoke(app, ["doctor", "--json", *arguments])
    assert result.exit_code == code, result.output
    return {finding["subject"]: (finding["text"], finding["good"]) for finding in json.loads(result.stdout)}


def test_a_healthy_machine(whole: Path) -> None:
    found = findings("--bundle", str(whole), "--threads", "1")
    assert found["chosen"] == ("ONNX Runtime on the CPU", True)
    assert found["golden check"][0].startswith("passed with")
    assert "CPUExecutionProvider" in found["providers"][0]
    assert str(whole) in found["bundle"][0]
    assert found["tensorrt engines"][0].startswith("no engine")
    assert all(good for _, good in found.values())


def test_cache_and_telemetry_are_named(whole: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("--bundle", str(whole), "--threads", "1")
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "1")
    found = findings(*asked)
    assert found["telemetry"] == ("off (ORT_DISABLE_TELEMETRY=1)", True)
    assert found["cache"][0].startswith(f"{cache / 'shadowdiffusion'}, ")
    assert found["cache"][0].endswith(" GiB free")
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    assert findings(*asked)["telemetry"][0].startswith("on where ONNX Runtime has any")


def test_lines_for_people(whole: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "--bundle", str(whole), "--threads", "1"])
    assert result.exit_code == 0
    assert "problem" not in result.stdout
    subjects = [line[:21].strip() for line in result.stdout.splitlines()]
    assert subjects[:3] == ["shadowdiffusion", "python", "cpu"]
    assert subjects[-2:] == ["chosen", "golden check"]


def test_a_damaged_bundle_is_the_problem(whole: Path, tmp_path: Path) -> None:
    broken = write_bundle(tmp_path / "broken")
    (broken / "denoiser.onnx").write_bytes(b"")
    text, good = findings("--bundle", str(broken), code=2)["bundle"]
    assert not good
    assert "damaged" in text


def test_a_backend_that_cannot_be_had_is_the_problem(whole: Path) -> None:
    text, good = findings("--bundle", str(whole), "--backend", "tensorrt", code=2)["chosen"]
    assert not good
    assert "build-engine" in text


def test_a_bundle_without_an_example_cannot_be_checked(tmp_path: Path) -> None:
    found = findings("--bundle", str(write_bundle(tmp_path / "plain")), "--threads", "1")
    assert found["golden check"] == ("the bundle has no example to check with", True)
