"""Metrics against hand-computed values, and the quality table end to end on a tiny bundle."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import pyvips
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.quality.metrics import quality
from tests.runtime.tiny import write_bundle


def test_psnr_of_a_constant_error() -> None:
    truth = np.full((16, 16, 3), 100, np.uint8)
    mask = np.zeros((16, 16), bool)
    mask[:8] = True
    found = quality(truth + 10, truth, mask)
    assert found.psnr == pytest.approx(20 * math.log10(255 / 10))
    assert found.lab_shadow == pytest.approx(found.lab_lit)
    assert found.lab_all > 0


def test_lab_error_is_split_by_the_mask() -> None:
    truth = np.full((16, 16, 3), 119, np.uint8)  # L* = 50 in sRGB
    result = truth.copy()
    mask = np.zeros((16, 16), bool)
    mask[:8] = True
    result[mask] = 0  # black: L* = 0, a and b unchanged
    found = quality(result, truth, mask)
    assert found.lab_shadow == pytest.approx(50.0, abs=0.1)
    assert found.lab_lit == 0
    assert found.lab_all == pytest.approx(25.0, abs=0.1)


def test_equal_images() -> None:
    truth = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    found = quality(truth, truth, np.ones((8, 8), bool))
    assert found.psnr == math.inf
    assert found.ssim == pytest.approx(1)
    assert math.isnan(found.lab_lit)


def _pairs(root: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        clean = rng.integers(90, 200, (40, 56, 3), dtype=np.uint8)
        shadow = np.zeros((40, 56), np.uint8)
        shadow[10:30, 10:40] = 255
        degraded = np.where(shadow[..., None] > 0, clean // 2, clean).astype(np.uint8)
        for folder, pixels in (("input", degraded), ("gt", clean), ("mask", shadow)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            pyvips.Image.new_from_array(pixels).write_to_file(str(root / folder / f"{name}.png"))


def test_every_method_is_measured_and_appended(tmp_path: Path) -> None:
    _pairs(tmp_path / "data")
    bundle = write_bundle(tmp_path / "bundle")
    output = tmp_path / "quality.jsonl"
    command = ["quality", "--data", str(tmp_path / "data"), "--bundle", str(bundle), "-o", str(output)]
    for expected in (12, 24):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        records = [json.loads(line) for line in output.read_text().splitlines()]
        assert len(records) == expected
    methods = {(r["method"], r["mask"]) for r in records}
    assert ("prior alone", "given") in methods
    assert ("prior + diffusion", "none") in methods
    assert "| border gain | given |" in result.output


def test_native_is_measured_in_one_piece_and_on_tiles(tmp_path: Path) -> None:
    _pairs(tmp_path / "data")
    bundle = write_bundle(tmp_path / "bundle")
    output = tmp_path / "native.jsonl"
    command = ["native", "--data", str(tmp_path / "data"), "--bundle", str(bundle), "-o", str(output)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(records) == 2 * 2 * 5
    one_piece = [r for r in records if r["method"] == "full size, one piece"]
    assert len(one_piece) == 4
    assert all(r["from_whole"] is None and r["psnr"] > 10 for r in one_piece)
    working = [r for r in records if r["method"] == "working size 48"]
    assert all(5 < r["from_whole"] < 60 for r in working)
    assert "| full size, tiles of 256 | none |" in result.output


def test_wide_gamut_is_measured_in_every_space(tmp_path: Path) -> None:
    _pairs(tmp_path / "data")
    bundle = write_bundle(tmp_path / "bundle")
    output = tmp_path / "wide.jsonl"
    command = ["wide-gamut", "--data", str(tmp_path / "data"), "--bundle", str(bundle), "-o", str(output)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(records) == 2 * 3 * 2 * 4
    perfect = [r for r in records if r["working_image"] == "perfect" and r["method"] == "as deployed"]
    assert min(r["psnr"] for r in perfect) > 20
    assert "| networks | ProPhoto RGB |" in result.output


def test_bad_input_is_one_line_and_code_2(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["quality", "--data", str(tmp_path), "--bundle", str(tmp_path)])
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
