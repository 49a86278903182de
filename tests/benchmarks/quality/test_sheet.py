"""The picture of all results: whole or not at all."""

from pathlib import Path

import numpy as np
import pytest
import pyvips

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.quality.sheet import ROWS, SIDE, Sheet


def _flat(value: int, height: int = 60, width: int = 90) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_every_photo_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    sheet = Sheet(path, 2)
    sheet.add([("a", _flat(10)), ("mine", _flat(100)), ("truth", _flat(200))])
    sheet.add([("b", _flat(10, 90, 60)), ("truth", _flat(200))])  # a method that could not do this photo
    sheet.write()
    found = pyvips.Image.new_from_file(str(path)).numpy()
    assert found.shape[1] > 3 * SIDE * 0.9
    for value in (10, 100, 200):
        assert (found == value).all(-1).sum() > 20_000
    assert list(tmp_path.iterdir()) == [path]


def test_large_sets_are_sampled(tmp_path: Path) -> None:
    sheet = Sheet(tmp_path / "sheet.jpg", 3 * ROWS)
    for _ in range(3 * ROWS):
        sheet.add([("a", _flat(10, 8, 8))])
    sheet.write()
    assert len(sheet._rows) == ROWS


def test_a_path_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"end its name in \.png or \.jpg"):
        Sheet(tmp_path / "sheet.gif", 1)
    with pytest.raises(BenchmarkError, match="there is no folder"):
        Sheet(tmp_path / "absent" / "sheet.png", 1)
