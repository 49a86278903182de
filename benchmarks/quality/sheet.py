"""One picture of all results: a row for every photo, with the input, what each method made of it, and the truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.runtime.replacing import replaced

SIDE = 240  # pixels of a tile
FORMATS = (".png", ".jpg", ".jpeg")
ROWS = 40
"""At most so many photos are shown, spread over the set."""


class Sheet:
    """Collects tiles photo by photo; only the photos that will be shown are kept, and only as small as they will be."""

    def __init__(self, path: Path, photos: int) -> None:
        """Raises BenchmarkError for a path that cannot be written, before anything is measured."""
        if path.suffix.lower() not in FORMATS:
            raise BenchmarkError(f"cannot write the sheet {path}: end its name in {' or '.join(FORMATS)}")
        if not path.parent.is_dir():
            raise BenchmarkError(f"cannot write the sheet {path}: there is no folder {path.parent}")
        self._path = path
        self._shown = {round(place) for place in np.linspace(0, photos - 1, min(photos, ROWS))}
        self._rows: list[list[Any]] = []
        self._seen = 0

    def add(self, tiles: Sequence[tuple[str, NDArray[np.uint8]]]) -> None:
        """One photo: captions and pixels uint8[H, W, 3], the input first and the truth last."""
        if self._seen in self._shown:
            self._rows.append([_tile(caption, pixels) for caption, pixels in tiles])
        self._seen += 1

    def write(self) -> None:
        """Write the picture, whole or not at all. Raises BenchmarkError when that fails."""
        import pyvips

        across = max(len(row) for row in self._rows)
        blank = pyvips.Image.black(1, 1, bands=3) + 255
        tiles = [tile for row in self._rows for tile in row + [blank.cast("uchar")] * (across - len(row))]
        sheet = pyvips.Image.arrayjoin(tiles, across=across, shim=6, background=255, halign="centre")
        try:
            picture = sheet.copy(interpretation="srgb").write_to_buffer(self._path.suffix)
            with replaced(self._path) as file:
                file.write(picture)
        except (pyvips.Error, OSError) as error:
            raise BenchmarkError(f"cannot write {self._path}: {str(error).strip().splitlines()[-1]}") from None


def _tile(caption: str, pixels: NDArray[np.uint8]) -> Any:
    import pyvips

    small = pyvips.Image.new_from_array(pixels).thumbnail_image(SIDE, height=SIDE)
    text = 255 - pyvips.Image.text(caption, font="sans 9", dpi=72, width=SIDE)
    caption_band = text.bandjoin([text, text]).cast("uchar")
    return small.join(caption_band, "vertical", expand=True, background=255, shim=3).copy_memory()
