"""Images on which an exported network is compared with the original."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shadowdiffusion.export.errors import ExportError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

EXAMPLE = Path(__file__).resolve().parents[1] / "docs" / "example" / "shadow.jpg"
"""The photo used when the caller names none; absent from an installed package."""


@dataclass(frozen=True)
class Sample:
    """One verification image: `image` float32 [1, 3, H, W] sRGB-encoded in [0, 1], `mask` float32 [1, 1, H,
    W].

    The mask is an ellipse around the centre with a soft edge, in [0, 1]: it need not match a shadow, since
    what is compared is arithmetic.
    """

    name: str
    image: Array
    mask: Array


def verification_samples(
    paths: Sequence[Path],
    multiple: int,
    side: int = 160,
    smallest: tuple[int, int] = (1, 1),
    largest: tuple[int, int] = (2**16, 2**16),
) -> list[Sample]:
    """A wide and a tall centre crop of every photo, H and W multiples of `multiple`, long side about `side`
    pixels, (H, W) no less than `smallest` and no more than `largest`; one crop where both would be equal.

    Without `paths` the example photo stands in, or, where that is missing too, a synthetic scene of
    gradients, edges and texture. Raises ExportError for a photo that cannot be read.
    """
    long, short = _multiple_near(side, multiple), _multiple_near(side * 0.6, multiple)
    sizes = {
        (min(max(height, smallest[0]), largest[0]), min(max(width, smallest[1]), largest[1])): None
        for height, width in ((short, long), (long, short))
    }
    side = max(side, *(max(size) for size in sizes))
    chosen = list(paths) or ([EXAMPLE] if EXAMPLE.is_file() else [])
    pictures = [(path.name, _read(path, side)) for path in chosen] or [("synthetic", synthetic(2 * side, 2 * side))]
    return [
        Sample(f"{name} {width}x{height}", _crop(picture, height, width), ellipse(height, width))
        for name, picture in pictures
        for height, width in sizes
    ]


def golden_sample(paths: Sequence[Path], multiple: int) -> Sample:
    """One small image for the bundle's own check: at most about 64x96 pixels."""
    return verification_samples(paths[:1], multiple, side=96)[0]


def ellipse(height: int, width: int) -> Array:
    """Mask float32 [1, 1, height, width]: 1 inside a centred ellipse, falling to 0 over a soft edge."""
    import numpy as np

    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    distance = np.hypot(y / 0.7, x / 0.6)
    mask: Array = np.clip((1.1 - distance) / 0.2, 0, 1).astype(np.float32)
    return mask[None, None]


def synthetic(height: int, width: int) -> Array:
    """Stand-in for a photo, float32 [3, height, width] in [0, 1]: gradients, tiles, grain and a shadow."""
    import numpy as np

    from shadowdiffusion.runtime.loop.noise import gaussian

    y, x = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None, :]
    tiles = np.sign(np.sin(40 * x) * np.sin(31 * y + 5 * x))
    base = np.stack([0.55 + 0.3 * x + 0 * y, 0.5 + 0.25 * y + 0 * x, 0.6 - 0.3 * x * y])
    light = 1 - 0.6 * ellipse(height, width)[0]
    picture = (base + 0.08 * tiles + 0.02 * gaussian(height, width, seed=7, step=0)) * light
    scene: Array = np.clip(picture, 0, 1).astype(np.float32)
    return scene


def _read(path: Path, side: int) -> Array:
    """A photo as float32 [3, h, w] in [0, 1], shrunk until its short side is near 1.5 `side`."""
    import numpy as np
    import pyvips

    try:
        picture: Any = pyvips.Image.thumbnail(str(path), 2 * side, height=2 * side, size="down", crop="none")
        picture = picture.colourspace("srgb")
        if picture.hasalpha():
            picture = picture.flatten()
        pixels = picture[0:3].numpy() if picture.bands > 3 else picture.numpy()
    except pyvips.Error as error:
        raise ExportError(f"cannot read verification photo {path}: {str(error).strip().splitlines()[-1]}") from error
    return np.ascontiguousarray(pixels.astype(np.float32).transpose(2, 0, 1) / np.float32(255))


def _crop(picture: Array, height: int, width: int) -> Array:
    """The centre of float32 [3, h, w] as [1, 3, height, width], mirrored at the border where it is
    too small.
    """
    import numpy as np

    lack = [max(0, height - picture.shape[1]), max(0, width - picture.shape[2])]
    if any(lack):
        picture = np.pad(picture, ((0, 0), *((n // 2, n - n // 2) for n in lack)), mode="symmetric")
    top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
    return np.ascontiguousarray(picture[None, :, top : top + height, left : left + width])


def _multiple_near(size: float, multiple: int) -> int:
    return max(1, round(size / multiple)) * multiple
