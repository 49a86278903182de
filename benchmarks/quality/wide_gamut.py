"""What it costs to restore photos in wide colour spaces one way or another, on photographed pairs converted to them.

The working image is restored perfectly (the truth, reduced to a quarter) or by a bundle's networks, given the mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shadowdiffusion.runtime.gain.brightening import brighten
from shadowdiffusion.runtime.gain.illumination import log_gain, to_encoded, to_linear
from shadowdiffusion.runtime.gain.resizing import reduced
from shadowdiffusion.runtime.restorer import Restorer
from shadowdiffusion.training.datasets import read_mask, read_photo
from shadowdiffusion.training.layouts import LayoutName, triplets

Array = NDArray[np.float32]

FACTOR = 4
METHODS = ("as if sRGB", "by way of sRGB", "as deployed", "with its own curve")
SRGB_TO_XYZ = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
"""To the white of ICC profiles, D50."""


@dataclass(frozen=True)
class Space:
    """RGB with primaries `to_xyz` (its columns, adapted to D50) and a power curve, None for that of sRGB."""

    name: str
    gamma: float | None
    to_xyz: NDArray[np.float64]

    def decode(self, values: Array) -> Array:
        """To linear light."""
        return to_linear(values) if self.gamma is None else values ** np.float32(self.gamma)

    def encode(self, light: Array) -> Array:
        """From linear light in [0, 1]."""
        return to_encoded(light) if self.gamma is None else light ** np.float32(1 / self.gamma)

    def to_srgb(self, values: Array) -> Array:
        """To sRGB-encoded colours, clipped to what sRGB holds."""
        light = self.decode(values) @ (np.linalg.inv(SRGB_TO_XYZ) @ self.to_xyz).T
        return to_encoded(light.clip(0, 1).astype(np.float32))

    def from_srgb(self, colours: Array) -> Array:
        """From sRGB-encoded colours."""
        light = to_linear(colours) @ (np.linalg.inv(self.to_xyz) @ SRGB_TO_XYZ).T
        return self.encode(light.clip(0, 1).astype(np.float32))


P3 = [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
ADOBE = [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
PROPHOTO = [[0.79767, 0.13519, 0.03134], [0.28804, 0.71188, 0.00009], [0.0, 0.0, 0.82491]]
SPACES = (
    Space("Display P3", None, np.array(P3)),
    Space("Adobe RGB", 563 / 256, np.array(ADOBE)),
    Space("ProPhoto RGB", 1.8, np.array(PROPHOTO)),
)


@dataclass(frozen=True)
class Row:
    """One photo in one space, restored one way."""

    photo: str
    space: str
    working_image: str  # "perfect" or "networks"
    method: str
    psnr: float  # dB, in the space's own encoding, whole image

    def record(self) -> dict[str, Any]:
        """Flat JSON record."""
        return asdict(self) | {"psnr": round(self.psnr, 3)}


def measure(restorer: Restorer, data: Path, layout: LayoutName, split: str) -> Iterator[Row]:
    """Every pair with a mask, in every space. Raises TrainingError for data that is not a set of pairs, RestoreError
    for a bundle that does not run.
    """
    working_size = restorer.bundle.manifest.model.working_size
    for files in triplets(data, split, layout):
        if files.mask is None:
            continue
        shot, lit = (_unit(read_photo(path)) for path in (files.degraded, files.clean))
        mask = read_mask(files.mask, (shot.shape[0], shot.shape[1]))

        def perfect(view: Array, truth: Array) -> Array:
            return truth

        def networks(view: Array, truth: Array, shadow: Array = mask[..., None]) -> Array:
            shadow = reduced(shadow, max(view.shape))
            found = restorer.loop.restore(_planes(view), _planes(shadow), restorer.bundle.table(), [0])
            return found.image[0].transpose(1, 2, 0)

        for space in SPACES:
            photo, truth = _eight_bits(space.from_srgb(shot)), space.from_srgb(lit)
            for restore, side in ((perfect, max(photo.shape) // FACTOR), (networks, working_size)):
                for method in METHODS:
                    result = _restored(method, space, photo, truth, side, restore)
                    error = np.square(result.astype(np.float64) - truth).mean()
                    yield Row(files.degraded.stem, space.name, restore.__name__, method, -10 * float(np.log10(error)))


def _restored(
    method: str, space: Space, photo: Array, truth: Array, side: int, restore: Callable[[Array, Array], Array]
) -> Array:
    """`photo`, restored in one of METHODS; `restore` takes a working image and what it should become."""
    if method == "as if sRGB":
        view = reduced(photo, side)
        return brighten(photo, view, log_gain(view, restore(view, reduced(truth, side))))
    if method == "by way of sRGB":
        whole = space.to_srgb(photo)
        view = reduced(whole, side)
        gain = log_gain(view, restore(view, reduced(space.to_srgb(truth), side)))
        return space.from_srgb(brighten(whole, view, gain))
    small = reduced(photo, side)
    view = space.to_srgb(small)
    start, found = (space.from_srgb(image) for image in (view, restore(view, space.to_srgb(reduced(truth, side)))))
    if method == "as deployed":
        return brighten(photo, small, log_gain(start, found))
    # with the space's own curve: in its primaries, but encoded as the functions expect it
    photo, start, found = (to_encoded(space.decode(image)) for image in (photo, start, found))
    return space.encode(to_linear(brighten(photo, reduced(photo, side), log_gain(start, found))))


def table(rows: list[Row]) -> str:
    """Markdown table of mean PSNR over the photos, in dB."""
    lines = [f"| working image | colour space | {' | '.join(METHODS)} |", "|---" * (2 + len(METHODS)) + "|"]
    for kind in ("perfect", "networks"):
        for space in dict.fromkeys(row.space for row in rows):
            here = [row for row in rows if (row.working_image, row.space) == (kind, space)]
            means = (np.mean([row.psnr for row in here if row.method == method]) for method in METHODS)
            lines.append(f"| {kind} | {space} | {' | '.join(f'{mean:.2f}' for mean in means)} |")
    return "\n".join(lines)


def _unit(pixels: NDArray[np.uint8]) -> Array:
    return (pixels / 255).astype(np.float32)


def _eight_bits(image: Array) -> Array:
    return (np.rint(image * 255) / 255).astype(np.float32)


def _planes(image: Array) -> Array:
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])
