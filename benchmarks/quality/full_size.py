"""What carrying a result from the working size to the photo's own costs, on photographed pairs.

The working image is restored perfectly (the truth, reduced) or by a bundle's networks, given the mask, and carried to
full size in four ways. Everything that is lost with a perfect one is lost on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shadowdiffusion.kernels import guided_upsample
from shadowdiffusion.runtime.gain.brightening import brighten
from shadowdiffusion.runtime.gain.illumination import FLOOR, log_gain, to_encoded, to_linear
from shadowdiffusion.runtime.gain.resizing import enlarged, reduced
from shadowdiffusion.runtime.restorer import Restorer
from shadowdiffusion.training.datasets import read_mask, read_photo
from shadowdiffusion.training.layouts import LayoutName, triplets

Array = NDArray[np.float32]
Pixels = NDArray[np.uint8]

FACTORS = (2, 3, 4, 6, 8)
BORDER = 8
"""Pixels on both sides of the mask's border that are looked at by themselves."""
METHODS = ("result enlarged", "gain enlarged", "guided filter", "as deployed")
RADIUS, EPS = 1, 1e-3
"""The guided filter's best at 4 and at 6 times, of radii 1 to 8 and eps 1e-4 to 1, with perfect working images."""


@dataclass(frozen=True)
class Row:
    """One photo, carried one way."""

    photo: str
    working_image: str  # "perfect" or "networks"
    factor: int  # the photo's size over the working size
    method: str
    psnr: float  # dB, whole image at the photo's size
    border_psnr: float  # dB, within BORDER pixels of the shadow's border

    def record(self) -> dict[str, Any]:
        """Flat JSON record."""
        return {key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(self).items()}


def measure(restorer: Restorer, data: Path, layout: LayoutName, split: str) -> Iterator[Row]:
    """Every pair with a mask, at every factor. Raises TrainingError for data that is not a set of pairs, RestoreError
    for a bundle that does not run.
    """
    from scipy.ndimage import distance_transform_edt

    for files in triplets(data, split, layout):
        if files.mask is None:
            continue
        photo, truth = read_photo(files.degraded), read_photo(files.clean)
        mask = read_mask(files.mask, photo.shape[:2]) > 0.5
        near = np.minimum(distance_transform_edt(mask), BORDER) + np.minimum(distance_transform_edt(~mask), BORDER)
        border = near < BORDER
        for factor in FACTORS:
            side = round(max(photo.shape) / factor)
            small = reduced(photo, side)
            shadow = reduced(mask.astype(np.float32), side)
            found = restorer.loop.restore(_planes(small), _planes(shadow), restorer.bundle.table(), [0]).image
            for kind, restored in (("perfect", reduced(truth, side)), ("networks", found[0].transpose(1, 2, 0))):
                for method in METHODS:
                    result = _carried(method, photo, small, restored)
                    whole, near_border = _psnr(result, truth), _psnr(result[border], truth[border])
                    yield Row(files.degraded.stem, kind, factor, method, whole, near_border)


def _carried(method: str, photo: Pixels, small: Array, restored: Array) -> Pixels:
    """The full-size result of one of METHODS."""
    height, width = photo.shape[:2]
    gain = log_gain(small, restored)
    if method == "as deployed":
        return brighten(photo, small, gain)
    if method == "result enlarged":
        encoded = enlarged(restored, height, width)
    else:
        full = reduced(photo, max(photo.shape))
        wide = _guided(gain, small, full) if method == "guided filter" else enlarged(gain, height, width)
        encoded = to_encoded(((to_linear(full) + FLOOR) * np.exp(wide) - FLOOR).clip(0, 1))
    return np.rint(encoded * np.float32(255)).astype(np.uint8)


def _guided(gain: Array, small: Array, full: Array) -> Array:
    """The gain enlarged by the fast guided filter, led by the luminance of the photo."""
    planes = [torch.from_numpy(_planes(image)) for image in (gain, small, full)]
    wide: Array = guided_upsample.reference(planes[0], planes[1], planes[2], RADIUS, EPS).float().numpy()
    return wide[0].transpose(1, 2, 0)


def _psnr(result: Pixels, truth: Pixels) -> float:
    error = np.square(result.astype(np.float64) - truth).mean() if result.size else np.nan
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def _planes(pixels: Array) -> Array:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def table(rows: list[Row]) -> str:
    """Markdown table of mean PSNR over the photos, "whole image / near the border", in dB."""
    lines = [f"| working image | factor | {' | '.join(METHODS)} |", "|---" * (2 + len(METHODS)) + "|"]
    for kind, factor in dict.fromkeys((row.working_image, row.factor) for row in sorted(rows, key=_order)):
        cells = []
        for method in METHODS:
            chosen = [row for row in rows if (row.working_image, row.factor, row.method) == (kind, factor, method)]
            means = (np.nanmean([getattr(row, name) for row in chosen]) for name in ("psnr", "border_psnr"))
            cells.append(" / ".join(f"{mean:.2f}" for mean in means))
        lines.append(f"| {kind} | {factor} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _order(row: Row) -> tuple[bool, int]:
    return row.working_image != "perfect", row.factor
