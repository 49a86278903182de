"""A picture of what the generator makes: pairs of (shadowed, clean) side by side, to be looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shadowdiffusion.training.datasets import Dataset
from shadowdiffusion.training.errors import TrainingError


def write_contact_sheet(dataset: Dataset, output: Path, count: int = 48, columns: int = 6) -> None:
    """Save samples 0 ... count - 1 as one PNG or JPEG, `columns` pairs a row.

    Raises TrainingError when the file cannot be written.
    """
    import pyvips

    tiles = []
    for index in range(count):
        sample = dataset.sample(index)
        pair = np.concatenate([sample["image"].numpy(), sample["clean"].numpy()], axis=2)
        tiles.append(pyvips.Image.new_from_array((pair.transpose(1, 2, 0) * 255).round().astype(np.uint8)))
    sheet = pyvips.Image.arrayjoin(tiles, across=columns, shim=4, background=255)
    try:
        sheet.write_to_file(str(output))
    except pyvips.Error as error:
        raise TrainingError(f"cannot write {output}: {str(error).strip().splitlines()[-1]}") from None
