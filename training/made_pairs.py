"""Degraded photos with their truth as files, made of held-out clean photos: what every method can be scored on."""

from __future__ import annotations

import secrets
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
from torch import Tensor

from shadowdiffusion.training.datasets import Dataset, Sample
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.layouts import WELL_EXPOSED

SHADOW = 0.5  # matte from which a pixel is in the mask
TRIES = 10  # samples drawn for each pair at most


def write_pairs(dataset: Dataset, output: Path, count: int, everywhere: bool) -> None:
    """The first `count` samples with anything to restore as PNG files of 8 bits, in a new folder, whole or not at all.

    everywhere: no shadows but exposures, which become stacks `NNN/low`, `over` and `mid`, the truth; else pairs in
    `input`, `gt` and `mask`, where the mask is the true matte from 0.5 on. Raises TrainingError for a folder that
    exists or cannot be written, and where hardly any sample has a shadow.
    """
    if output.exists():
        raise TrainingError(f"{output} exists: name a new folder")
    import pyvips

    fresh: Path | None = None
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        fresh = output.parent / f".partial-{secrets.token_hex(4)}"
        fresh.mkdir()  # not by tempfile, whose folders are private
        samples = (dataset.sample(index) for index in range(TRIES * count))
        found = islice((sample for sample in samples if everywhere or sample["matte"].max() > SHADOW), count)
        for index in range(count):
            sample = next(found, None)
            if sample is None:
                raise TrainingError(
                    f"{TRIES * count} samples have {index} shadows: is the share without one, none, too large?"
                )
            for name, picture in _files(sample, f"{index:03}", everywhere).items():
                path = fresh / f"{name}.png"
                path.parent.mkdir(exist_ok=True)
                pixels = (picture.numpy().transpose(1, 2, 0) * 255).round().astype(np.uint8)
                pyvips.Image.new_from_array(np.ascontiguousarray(pixels)).write_to_file(str(path))
        fresh.rename(output)
    except (pyvips.Error, OSError) as error:
        raise TrainingError(f"cannot write {output}: {str(error).strip().splitlines()[-1]}") from None
    finally:
        if fresh is not None:
            shutil.rmtree(fresh, ignore_errors=True)


def _files(sample: Sample, name: str, everywhere: bool) -> dict[str, Tensor]:
    image, clean = sample["image"], sample["clean"]
    if everywhere:
        shot = "low" if image.mean() < clean.mean() else "over"
        return {f"{name}/{shot}": image, f"{name}/{WELL_EXPOSED}": clean}
    mask = (sample["matte"] > SHADOW).to(image.dtype)
    return {f"input/{name}": image, f"gt/{name}": clean, f"mask/{name}": mask}
