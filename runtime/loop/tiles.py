"""Networks on overlapping tiles, for images that do not fit into memory, or an engine's profile, in one piece.

Every network output is put together before anything else reads it, so that one diffusion runs over the whole image
and its noise (MultiDiffusion: Bar-Tal et al., ICML 2023): tiles never drift apart and leave no seam. What they cost
is statistics: normalisation and channel attention of a network see one tile instead of the image
(docs/full-size.md has figures).
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.bundle.folder import Step
from shadowdiffusion.runtime.loop.networks import Networks, Sizes

Array = npt.NDArray[np.float32]

OVERLAP = 64
"""Pixels that neighbouring tiles share at least, for tiles of twice that and more: one fades into the other."""


class TiledNetworks:
    """`runtime.loop.networks.Networks` that run others on tiles of at most `tile` (height, width) pixels.

    multiple: of which the sizes of tiles and images are multiples.
    """

    def __init__(self, networks: Networks, tile: tuple[int, int], multiple: int) -> None:
        self.title = f"{networks.title}, in tiles of {tile[1]}x{tile[0]} pixels"
        self.used = networks.used
        self.sizes: Sizes | None = None
        self.on_host = networks.on_host
        self._networks, self._tile, self._multiple = networks, tile, multiple

    def prior(self, image: Array, mask: Array) -> tuple[Array, Array]:
        """As `Networks`."""
        clean, matte = self._over_tiles(self._networks.prior, image, mask)
        assert matte is not None
        return clean, matte

    def denoise(self, y: Array, mask: Array, x_t: Array, step: Step, with_mask: bool) -> tuple[Array, Array | None]:
        """As `Networks`."""

        def denoised(y: Array, mask: Array, x_t: Array) -> tuple[Array, Array | None]:
            return self._networks.denoise(y, mask, x_t, step, with_mask)

        return self._over_tiles(denoised, y, mask, x_t)

    def _over_tiles(self, run: Callable[..., tuple[Array, Array | None]], *arrays: Array) -> tuple[Array, Array | None]:
        """Run on every tile of arrays [N, C, H, W]; their two outputs, blended."""
        images, _, height, width = arrays[0].shape
        first = np.zeros((images, 3, height, width), np.float32)
        second: Array | None = np.zeros((images, 1, height, width), np.float32)
        for rows, down in tiles(height, self._tile[0], self._multiple):
            for columns, across in tiles(width, self._tile[1], self._multiple):
                pieces = run(*(np.ascontiguousarray(array[:, :, rows, columns]) for array in arrays))
                weight = down[:, None] * across
                first[:, :, rows, columns] += weight * pieces[0]
                if pieces[1] is None or second is None:
                    second = None
                else:
                    second[:, :, rows, columns] += weight * pieces[1]
        return first, second


def tile_count(length: int, tile: int) -> int:
    """How many tiles an axis needs."""
    if tile >= length:
        return 1
    overlap = min(OVERLAP, tile // 2)
    return -(-(length - overlap) // (tile - overlap))


def tiles(length: int, tile: int, multiple: int) -> Iterator[tuple[slice, Array]]:
    """Evenly spread tiles of one axis, each with the weights of its pixels, which add up to 1 everywhere.

    All are of the same length, at least two multiples, and begin at multiples. They overlap by OVERLAP or more, half a
    tile at most, give or take the rounding to multiples. Weights fade to 0 at the end of a tile, where networks know
    least, but not at that of the image.
    """
    if tile >= length:
        yield slice(0, length), np.ones(length, np.float32)
        return
    overlap = min(OVERLAP, tile // 2)
    places = np.linspace(0, length - tile, tile_count(length, tile))
    starts = [round(place / multiple) * multiple for place in places]
    ramp = (np.arange(tile) + 0.5) / overlap
    weights = []
    for start in starts:
        rise = ramp if start > 0 else np.ones(tile)
        fall = ramp[::-1] if start + tile < length else np.ones(tile)
        weights.append(np.sin(np.pi / 2 * np.minimum(np.minimum(rise, fall), 1)) ** 2)
    total = np.zeros(length)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + tile] += weight
    for start, weight in zip(starts, weights, strict=True):
        yield slice(start, start + tile), (weight / total[start : start + tile]).astype(np.float32)
