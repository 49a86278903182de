"""`shadowdiffusion export onnx`: one line and exit code 2 for what the user can mend, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from safetensors import safe_open
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from shadowdiffusion import runtime
from shadowdiffusion.export.commands.cli import app
from shadowdiffusion.export.commands.results import Exported
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.training.checkpoint import Model, save_checkpoint
from tests.deadlines import LONGEST

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def checkpoints(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both.safetensors, denoiser.safetensors and prior.safetensors."""
    folder = tmp_path_factory.mktemp("checkpoints")
    save_checkpoint(folder / "both.safetensors", model)
    save_checkpoint(folder / "denoiser.safetensors", Model(model.denoiser, None))
    save_checkpoint(folder / "prior.safetensors", Model(None, model.prior))
    return folder


def export(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["onnx", *map(str, arguments)])


def assert_refused(result: Result, *words: str) -> None:
    lines = [line for line in result.stderr.splitlines() if not line.startswith("[")]  # [ 1.2 s] is progress
    assert result.exit_code == 2, result.output
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


def test_two_checkpoints_become_one_bundle(checkpoints: Path, exported: None, tmp_path: Path) -> None:
    files = [checkpoints / "prior.safetensors", checkpoints / "denoiser.safetensors"]
    arguments = ["--steps", "3", "--start", "300", "--eta", "0.2", "--mask-policy", "late", "--clamp", "--json"]
    labels = ["--task", "low-light", "--name", "dusk"]
    result = export(*files, "-o", tmp_path / "b", *arguments, *labels)
    assert result.exit_code == 0, result.output
    summary = msgspec.json.decode(result.stdout, type=Exported, strict=True)
    assert summary.verification["onnx"].differences["loop"].psnr >= 60
    assert summary.bytes > 1000
    manifest = load_bundle(tmp_path / "b").manifest
    sampling = manifest.sampling
    assert (manifest.name, manifest.task) == ("dusk", "low-light")
    assert (sampling.default_steps, sampling.start, sampling.eta) == (3, 300, 0.2)
    assert (sampling.mask_policy, sampling.clamp, sampling.data_consistency) == ("late", True, True)
    assert sampling.start_alpha_bar == sampling.tables["3"][0].alpha_bar
    assert "exporting the denoiser" in result.stderr
    assert runtime.load(tmp_path / "b", "portable", "cpu", 1).check() > 50


def test_denoiser_alone_turns_data_consistency_off(checkpoints: Path, exported: None, tmp_path: Path) -> None:
    result = export(checkpoints / "denoiser.safetensors", "-o", tmp_path / "b")
    assert result.exit_code == 0, result.output
    assert load_bundle(tmp_path / "b").manifest.sampling.data_consistency is False


def test_existing_target_is_refused_before_anything_is_read(checkpoints: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    result = export(checkpoints / "missing.safetensors", "-o", tmp_path / "b")
    assert_refused(result, "already exists", "--force")


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "truncated", "foreign", "other architecture"])
def test_bad_checkpoint_is_one_line(checkpoints: Path, tmp_path: Path, kind: str) -> None:
    good, bad = checkpoints / "both.safetensors", tmp_path / "bad.safetensors"
    if kind == "empty":
        bad.touch()
    elif kind == "text":
        bad.write_text("weights go here\n" * 100)
    elif kind == "truncated":
        bad.write_bytes(good.read_bytes()[:-1000])
    elif kind in ("foreign", "other architecture"):
        with safe_open(good, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata()
        if kind == "foreign":
            metadata = {"format": "pt"}
        else:
            del tensors["denoiser.stem.weight"]
        save_file(tensors, bad, metadata)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert_refused(export(bad, "-o", tmp_path / "b"), "bad.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == left


def test_impossible_options_are_one_line(checkpoints: Path, tmp_path: Path) -> None:
    both = checkpoints / "both.safetensors"
    for arguments, word in (
        (["--steps", "0"], "steps"),
        (["--start", "2000"], "2000"),
        (["--start", "3", "--steps", "5"], "start 3"),
        (["--eta", "2"], "eta"),
        (["--rho", "nan"], "rho"),
        (["--rho-schedule", "linear", "--rho-gamma", "-1"], "rho"),
        (["--verify-photo", "missing.jpg"], "missing.jpg"),
    ):
        assert_refused(export(both, "-o", tmp_path / "b", *arguments), word)
    for name, arguments in (("denoiser", ["--data-consistency"]), ("prior", [])):
        result = export(checkpoints / f"{name}.safetensors", "-o", tmp_path / "b", *arguments)
        assert_refused(result, "prior")
    assert not list(tmp_path.iterdir())


def test_help_has_an_example() -> None:
    result = CliRunner().invoke(app, ["onnx", "--help"])
    assert result.exit_code == 0
    assert "shadowdiffusion export onnx prior.safetensors" in result.stdout


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_export_leaves_nothing(checkpoints: Path, tmp_path: Path, number: int, status: int) -> None:
    """A stop in the middle of the work: SIGTERM as a batch system sends it, SIGINT as Ctrl-C does."""
    command = [sys.executable, "-m", "export", "onnx", str(checkpoints / "both.safetensors"), "-o"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "b")], cwd=ROOT, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    deadline = time.monotonic() + LONGEST
    while not list(tmp_path.iterdir()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(tmp_path.iterdir()), "the export never began"
    process.send_signal(number)
    lines = process.communicate(timeout=LONGEST)[1].decode().splitlines()
    assert process.returncode == status, lines
    assert lines[-1] == "stopped: nothing was written"
    assert not list(tmp_path.iterdir())
