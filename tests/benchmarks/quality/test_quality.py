"""The quality commands end to end on tiny data sets, with a tiny bundle."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from typer.testing import CliRunner, Result

from shadowdiffusion.benchmarks.cli import app
from shadowdiffusion.benchmarks.measurement.results import read
from shadowdiffusion.benchmarks.quality.record import QualityRecord
from tests.runtime.tiny import write_bundle
from tests.training import trees


def _quality(data: Path, *options: object) -> Result:
    return CliRunner().invoke(app, ["quality", "--data", str(data), *map(str, options)])


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


def test_default_methods_are_measured_and_appended(tmp_path: Path) -> None:
    _pairs(tmp_path / "data")
    output = tmp_path / "quality.jsonl"
    bundle = write_bundle(tmp_path / "bundle")
    for expected in (12, 24):
        result = _quality(tmp_path / "data", "--bundle", bundle, "-o", output)
        assert result.exit_code == 0, result.output
        records = read(output, QualityRecord)
        assert len(records) == expected
    assert {(r.method, r.mask) for r in records} == {
        ("identity", "none"),
        ("border-gain", "given"),
        *((name, kind) for name in ("prior", "bundle") for kind in ("given", "none")),
    }
    identity = next(r for r in records if r.method == "identity")
    photo = [pyvips.Image.new_from_file(str(tmp_path / "data" / f / "a.png")).numpy() for f in ("input", "gt")]
    error = np.square((photo[0].astype(float) - photo[1]) / 255).mean()
    assert identity.quality.whole.psnr == pytest.approx(-10 * np.log10(error))
    assert identity.quality.shadow is not None
    assert identity.quality.shadow.pixels == 20 * 30
    assert (identity.protocol.layout, identity.protocol.resize) == ("pairs", None)
    assert identity.header.command.startswith("python -m benchmarks")
    assert "| border-gain | given | measured |" in result.output


def test_the_protocol_of_the_field(tmp_path: Path) -> None:
    trees.istd(tmp_path / "ISTD")
    output, table, sheet = (tmp_path / name for name in ("q.jsonl", "q.md", "q.png"))
    layout = ("--layout", "istd", "--resize", 32, "--method", "identity", "--method", "border-gain")
    result = _quality(tmp_path / "ISTD", *layout, "-o", output, "--table", table, "--sheet", sheet)
    assert result.exit_code == 0, result.output
    records = read(output, QualityRecord)
    assert {r.quality.whole.pixels for r in records} == {32 * 32}
    assert {r.protocol.resize for r in records} == {32}
    assert table.read_text() in result.output
    assert "| published, secondary source |" in table.read_text()
    assert 700 < pyvips.Image.new_from_file(str(sheet)).width < 800  # input, border gain, truth
    assert not list(tmp_path.glob(".partial-*"))


def test_results_of_others_against_five_experts(tmp_path: Path) -> None:
    trees.msec(tmp_path / "data")
    results = tmp_path / "theirs"
    for shot in (tmp_path / "data" / "testing" / "INPUT_IMAGES").iterdir():
        pixels = pyvips.Image.new_from_file(str(shot)).numpy()
        trees.write(results / f"{shot.stem}.png", pixels)
    output = tmp_path / "q.jsonl"
    layout = ("--layout", "msec", "--method", "identity", "--method", results)
    result = _quality(tmp_path / "data", *layout, "-o", output)
    assert result.exit_code == 0, result.output
    identity, theirs = ([r for r in read(output, QualityRecord) if r.method == m] for m in ("identity", "theirs"))
    assert len(identity) == len(theirs) == 50
    assert [r.quality for r in identity] == [r.quality for r in theirs]
    assert "| PSNR A | SSIM A |" in result.output
    assert "published, Table C" in result.output


def test_exposure_stacks_by_shot(tmp_path: Path) -> None:
    trees.stacks(tmp_path)
    result = _quality(tmp_path, "--layout", "stacks", "--split", "low", "--method", "gamma", "--method", "identity")
    assert result.exit_code == 0, result.output
    assert "| gamma | none | measured | 38.59 |" in result.output  # 115 instead of 118
    assert "| identity | none | measured | 10.29 |" in result.output  # 40


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


def test_full_size_is_measured_at_every_factor(tmp_path: Path) -> None:
    _pairs(tmp_path / "data")
    result = CliRunner().invoke(
        app,
        ["full-size", "--data", str(tmp_path / "data"), "--bundle", str(write_bundle(tmp_path / "bundle"))],
    )
    assert result.exit_code == 0, result.output
    assert "| perfect | 8 |" in result.output
    (row,) = (line for line in result.output.splitlines() if line.startswith("| perfect | 4 |"))
    assert row.count("/") == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "is not in layout pairs"),
        (("--layout", "lol", "--method", "nonsense"), "no method nonsense"),
        (("--layout", "lol", "--method", "border-gain"), "nothing was measured: border-gain need masks"),
        (("--layout", "lol", "--method", "identity", "--sheet", "sheet.gif"), "cannot write the sheet"),
        (("--layout", "istd", "--method", "identity"), "it looks like layout lol"),
    ],
)
def test_bad_input_is_one_line_and_code_2(tmp_path: Path, options: tuple[Any, ...], message: str) -> None:
    trees.lol(tmp_path)
    result = _quality(tmp_path, *options)
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert message in result.output


def test_results_of_another_size_are_compared_only_when_resized(tmp_path: Path) -> None:
    trees.lol(tmp_path / "data")
    for name in ("1", "2"):
        trees.write(tmp_path / "theirs" / f"{name}.png", np.full((20, 30, 3), 120, np.uint8))
    options = ("--layout", "lol", "--method", tmp_path / "theirs")
    result = _quality(tmp_path / "data", *options)
    assert result.exit_code == 2
    assert "compare them with --resize 256" in result.output
    assert _quality(tmp_path / "data", *options, "--resize", 16).exit_code == 0
