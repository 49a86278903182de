"""Both aggregates by hand, and the form of each kind of set's table."""

import math

import pytest

from shadowdiffusion.benchmarks.measurement.machine import Header, Machine
from shadowdiffusion.benchmarks.quality.metrics import Quality, Region
from shadowdiffusion.benchmarks.quality.published import PUBLISHED
from shadowdiffusion.benchmarks.quality.record import MaskKind, Protocol, QualityRecord
from shadowdiffusion.benchmarks.quality.table import tables
from shadowdiffusion.training.layouts import LayoutName

HEADER = Header("2026-01-01T00:00:00+00:00", "test", None, None, "", True, Machine("", "", 1, None, {}))


def _record(
    layout: LayoutName,
    whole: Region,
    shadow: Region | None = None,
    *,
    photo: str = "a",
    subset: str = "",
    split: str = "test",
    mask: MaskKind = "none",
    lpips: float | None = None,
) -> QualityRecord:
    protocol = Protocol("set", layout, split, 256, "none")
    return QualityRecord(
        HEADER, protocol, "mine", None, photo, subset, mask, 1.0, Quality(whole, shadow, shadow), lpips
    )


def _rows(text: str) -> list[list[dict[str, str]]]:
    """Every table as its rows, by the titles of the columns."""
    found = []
    for block in text.split("\n\n"):
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        if block.startswith("|"):
            found.append([dict(zip(lines[0], line, strict=True)) for line in lines[2:]])
    return found


def test_means_over_photos_and_over_pixels() -> None:
    small = _record("istd", Region(100, 20.0, 0.5, 8.0), Region(10, 30.0, 0.6, 4.0))
    large = _record("istd", Region(300, 40.0, 0.9, 2.0), Region(90, 50.0, 1.0, 1.0), photo="b")
    by_photos, by_pixels = _rows(tables([small, large]))
    assert by_photos[0]["PSNR all"] == "30.00"
    assert by_photos[0]["SSIM all"] == "0.700"
    assert by_photos[0]["LAB all"] == "5.00"
    assert by_photos[0]["LAB shadow"] == "2.50"
    pooled = -10 * math.log10((100 * 1e-2 + 300 * 1e-4) / 400)
    assert by_pixels[0]["PSNR all"] == f"{pooled:.2f}"
    assert by_pixels[0]["SSIM all"] == "0.800"
    assert by_pixels[0]["LAB all"] == "3.50"
    assert by_pixels[0]["LAB shadow"] == f"{(10 * 4 + 90 * 1) / 100:.2f}"


def test_each_kind_of_mask_is_a_row_and_the_protocol_is_stated() -> None:
    text = tables([_record("pairs", Region(4, 20.0, 0.5, 8.0), mask=kind) for kind in ("given", "none")])
    assert [row["mask"] for row in _rows(text)[0]] == ["given", "none"]
    assert "set: layout pairs, split test, 1 photos, 256 x 256 pixels (MATLAB's imresize)." in text


@pytest.mark.parametrize(
    ("layout", "column", "value"),
    [("istd", "PSNR all", "32.33"), ("istd-plus", "PSNR all", "35.67"), ("srd", "SSIM all", "0.970")],
)
def test_published_rows_of_shadow_sets_with_masks_and_without(layout: LayoutName, column: str, value: str) -> None:
    region = Region(4, 20.0, 0.5, 8.0)
    for shadow in (region, None):
        measured, published = _rows(tables([_record(layout, region, shadow)]))[0]
        assert measured["from"] == "measured"
        assert published["from"].startswith("published")
        assert published[column] == value
        assert ("LAB shadow" in measured) == (shadow is not None)


def test_low_light_is_table_b() -> None:
    rows = _rows(tables([_record("lol", Region(4, 20.0, 0.5, 8.0), lpips=0.25)]))[0]
    assert (rows[0]["PSNR"], rows[0]["SSIM"], rows[0]["LPIPS"]) == ("20.00", "0.500", "0.250")
    assert rows[0]["s per photo"] == "1.00"
    lime = next(row for row in rows if row["method"] == "LIME")
    assert (lime["PSNR"], lime["SSIM"], lime["LPIPS"]) == ("14.02", "0.560", "0.350")
    assert {row["from"] for row in rows[1:]} == {"published, Table B"}
    assert len(rows) == 15


def test_exposure_is_table_c_with_an_average_over_the_experts() -> None:
    records = [
        _record("msec", Region(4, psnr, 0.5, 8.0), subset=expert, photo=photo)
        for expert, psnr in zip("ABCDE", (10.0, 20.0, 30.0, 40.0, 50.0), strict=True)
        for photo in ("a", "b")
    ]
    rows = _rows(tables(records))[0]
    assert [rows[0][f"PSNR {expert}"] for expert in "ABCDE"] == ["10.00", "20.00", "30.00", "40.00", "50.00"]
    assert rows[0]["PSNR average"] == "30.00"
    assert (rows[-1]["PSNR C"], rows[-1]["PSNR average"], rows[-1]["SSIM E"]) == ("22.66", "22.33", "0.820")
    assert len(rows) == 1 + 18


def test_published_rows_stand_beside_the_test_only() -> None:
    region = Region(4, 20.0, 0.5, 8.0)
    assert len(_rows(tables([_record("lol", region, split="train")]))[0]) == 1
    assert all(rows for rows in PUBLISHED.values())
