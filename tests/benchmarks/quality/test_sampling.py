"""Ways of sampling on a photographed pair, through the command line, with tiny networks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch
from typer.testing import CliRunner

from shadowdiffusion.benchmarks.cli import app
from shadowdiffusion.benchmarks.quality import sampling
from shadowdiffusion.training.checkpoint import Model, save_checkpoint
from shadowdiffusion.training.degradation import DegradationConfig, DegradationPrior
from shadowdiffusion.training.denoiser import Denoiser, DenoiserConfig


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyvips.Image.new_from_array(pixels).write_to_file(str(path))


def test_every_way_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    networks = (
        Denoiser(DenoiserConfig(base=16, multipliers=(1, 2), blocks=1, groups=4, patch=2)),
        DegradationPrior(DegradationConfig(width=8, encoder=(1,), middle=1, decoder=(1,))),
    )
    save_checkpoint(tmp_path / "tiny.safetensors", Model(*networks, task="shadow"))
    photo = np.random.default_rng(0).integers(60, 200, (48, 64, 3), np.uint8)
    for folder, pixels in (("input", photo // 2), ("gt", photo), ("mask", np.full((48, 64), 255, np.uint8))):
        write(tmp_path / "pairs" / folder / "a.png", pixels)
    monkeypatch.setattr(sampling, "STEPS", (1, 2))
    monkeypatch.setattr(sampling, "STARTS", (None, 200))
    monkeypatch.setattr(sampling, "SIZES", (32,))
    words = ["sampling", str(tmp_path / "tiny.safetensors"), "--data", str(tmp_path / "pairs"), "--working-size", "48"]
    result = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "rows.jsonl")])
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    # the default; two starts, steps and rhos; clamp; three mask policies; a growing rho; a size
    assert len(rows) == 1 + 8 + 1 + 3 + 1 + 1
    assert rows[0]["steps"] == 5
    assert {row["working_size"] for row in rows} == {32, 48}
    assert len({(row["given"], row["blind"]) for row in rows}) > len(rows) // 2
    assert len({row["prior_given"] for row in rows if row["working_size"] == 48}) == 1
    assert all(row["seconds"] > 0 for row in rows)
    assert all(3 < row["prior_given"] < 60 for row in rows)  # dB of 8-bit photos
    assert f"| 5 | noise | 0.02 | 48 |  | {rows[0]['given']:.2f}" in result.output

    words += ["--start", "10", "--start", "1", "--steps", "2", "--rho", "0.1"]
    result = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "from-prior.jsonl")])
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (tmp_path / "from-prior.jsonl").read_text().splitlines()]
    assert (rows[0]["steps"], rows[0]["start"], rows[0]["rho"]) == (2, 10, 0.1)
    tried = {(row["steps"], row["start"], row["rho"]) for row in rows}
    assert tried == {(2, 10, 0.1)} | {(s, t, rho) for s, t in ((1, 10), (2, 10), (1, 1)) for rho in (0.02, 0.2)}


def test_a_missing_checkpoint_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["sampling", str(tmp_path / "no.safetensors"), "--data", str(tmp_path)])
    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 1
