from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks
from shadowdiffusion.runtime.bundle.folder import Bundle, Step
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.loop import tiles
from shadowdiffusion.runtime.loop.host_loop import HostLoop
from shadowdiffusion.runtime.loop.networks import Sizes, Used
from shadowdiffusion.runtime.loop.tiles import TiledNetworks
from tests.runtime.tiny import MULTIPLE, picture

STEP = Step(0, 0.9, 1.0, 0.0, 0.2)


class Patchy:
    """Networks whose answer depends on the statistics of all they see, as normalisation makes real ones do."""

    title = "patchy"
    used = Used("patchy", None, "fp32", "cuda")
    sizes: Sizes | None = None
    on_host = False

    def __init__(self) -> None:
        self.seen = set[tuple[int, int]]()

    def prior(self, image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.seen.add((image.shape[2], image.shape[3]))
        mean = image.mean(axis=(1, 2, 3), keepdims=True)
        return image - mean, mask * mean

    def denoise(
        self, y: np.ndarray, mask: np.ndarray, x_t: np.ndarray, step: Step, with_mask: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        self.seen.add((y.shape[2], y.shape[3]))
        return x_t + y.std(axis=(1, 2, 3), keepdims=True), mask if with_mask else None


@pytest.fixture
def opened(bundle: Path) -> Bundle:
    return load_bundle(bundle)


@given(
    length=st.integers(1, 640).map(lambda eighths: 8 * eighths),
    tile=st.integers(2, 64).map(lambda eighths: 8 * eighths),
)
def test_tiles_cover_an_axis_with_weights_that_add_up_to_one(length: int, tile: int) -> None:
    found = list(tiles.tiles(length, tile, 8))
    assert len(found) == tiles.tile_count(length, tile)
    assert (found[0][0].start, found[-1][0].stop) == (0, length)
    total = np.zeros(length)
    for place, weights in found:
        assert place.start % 8 == 0
        assert len(weights) == place.stop - place.start == min(tile, length)
        assert weights.min() > 0
        total[place] += weights
    assert np.abs(total - 1).max() < 1e-6
    overlap = min(tiles.OVERLAP, tile // 2)
    for (first, _), (second, _) in pairwise(found):
        assert first.start < second.start
        assert first.stop - second.start >= overlap - 8  # places are rounded to multiples


@given(length=st.integers(20, 640).map(lambda eighths: 8 * eighths), tile=st.integers(17, 64).map(lambda n: 8 * n))
def test_weights_never_jump(length: int, tile: int) -> None:
    """A tile comes and goes in small steps, so that one that disagrees with its neighbours leaves no edge."""
    for place, weights in tiles.tiles(length, tile, 8):
        assert np.abs(np.diff(weights)).max() < 2.5 / tiles.OVERLAP
        assert place.start == 0 or weights[0] < 0.001
        assert place.stop == length or weights[-1] < 0.001


def test_weights_fade_towards_the_end_of_a_tile_but_not_of_the_image() -> None:
    (_, first), (_, second) = tiles.tiles(160, 112, 16)
    assert first[0] == second[-1] == 1
    assert max(first[-1], second[0]) < 0.001
    assert np.abs(np.diff(first)).max() < 2 / tiles.OVERLAP


@pytest.mark.parametrize("size", [(8, 8), (40, 64), (96, 200), (200, 8)])
def test_networks_that_only_look_near_give_the_same_on_tiles(opened: Bundle, size: tuple[int, int]) -> None:
    whole = OnnxRuntimeNetworks(opened, "cpu", 1)
    parts = TiledNetworks(whole, (64, 48), MULTIPLE)
    y, x = np.random.default_rng(0).random((2, 2, 3, *size), np.float32)
    mask = y[:, :1].copy()
    for found, expected in zip(parts.prior(y, mask), whole.prior(y, mask), strict=True):
        assert found.dtype == np.float32
        assert np.abs(found - expected).max() < 1e-6
    noise, shadow = parts.denoise(y, mask, x, opened.table(2)[0], True)
    expected_noise, expected_shadow = whole.denoise(y, mask, x, opened.table(2)[0], True)
    assert shadow is not None
    assert expected_shadow is not None
    # a tile's last pixels see its padding instead of their neighbours: they weigh next to nothing
    assert np.abs(noise - expected_noise).max() < 2e-3
    assert np.abs(shadow - expected_shadow).max() < 2e-3
    assert parts.denoise(y, mask, x, opened.table(2)[0], False)[1] is None


def test_the_whole_loop_on_tiles_is_that_on_the_image(opened: Bundle) -> None:
    """Same noise everywhere, as it belongs to the pixels of the image; the blind mask is found on tiles, too."""
    networks = OnnxRuntimeNetworks(opened, "cpu", 1)
    image = picture(120, 150, np.float32).transpose(2, 0, 1)[None].copy()
    loops = (HostLoop(opened, each) for each in (networks, TiledNetworks(networks, (64, 64), MULTIPLE)))
    whole, parts = (loop.restore(image, None, opened.table(5), [7], with_mask=True) for loop in loops)
    assert np.abs(whole.clean - parts.clean).max() < 1e-6
    assert np.abs(whole.image - parts.image).max() < 2e-3
    assert whole.mask is not None
    assert parts.mask is not None
    assert np.abs(whole.mask - parts.mask).max() < 2e-3


def test_tiles_see_the_noise_of_their_own_pixels(opened: Bundle) -> None:
    """Whatever the tiles, the noise of a pixel is that of its place in the whole image."""
    seen = list[tuple[np.ndarray, np.ndarray]]()

    class Noting(Patchy):
        def denoise(
            self, y: np.ndarray, mask: np.ndarray, x_t: np.ndarray, step: Step, with_mask: bool
        ) -> tuple[np.ndarray, np.ndarray | None]:
            seen.append((y.copy(), x_t.copy()))
            return super().denoise(y, mask, x_t, step, with_mask)

    rows, columns = np.mgrid[:120, :152].astype(np.float32) / 256  # so that the pixels of a tile tell its place
    image = np.stack([rows, columns, rows])[None]
    mask, table = np.zeros((1, 1, 120, 152), np.float32), opened.table(2)[:1]
    HostLoop(opened, Noting()).restore(image, mask, table, [7])
    ((_, whole),) = seen
    assert np.abs(whole).std() > 0.5  # noise indeed
    seen.clear()
    HostLoop(opened, TiledNetworks(Noting(), (64, 48), MULTIPLE)).restore(image, mask, table, [7])
    assert len(seen) == tiles.tile_count(120, 64) * tiles.tile_count(152, 48)
    for y, x_t in seen:
        top, left = (round(float(y[0, channel, 0, 0] + 1) * 128) for channel in (0, 1))
        assert np.array_equal(x_t, whole[:, :, top : top + 64, left : left + 48])


def test_no_tile_is_larger_than_asked_for() -> None:
    networks = Patchy()
    parts = TiledNetworks(networks, (64, 48), MULTIPLE)
    image = np.zeros((1, 3, 200, 40), np.float32)
    parts.prior(image, image[:, :1])
    parts.denoise(image, image[:, :1], image, STEP, True)
    assert networks.seen == {(64, 40)}


def test_no_seam_is_visible_between_tiles_that_disagree() -> None:
    """Tiles of a brighter and a darker half give answers that differ by a constant: it must fade, not jump."""
    networks = Patchy()
    image = np.zeros((1, 3, 96, 400), np.float32)
    image[..., 200:] = 1
    clean = TiledNetworks(networks, (96, 160), MULTIPLE).prior(image, image[:, :1])[0]
    change = (clean - image)[0, 0, 0]
    assert np.ptp(change) > 0.5  # they do disagree
    slope = np.abs(np.diff(change))
    assert slope.max() < 2.5 * np.ptp(change) / tiles.OVERLAP
    borders = [place.start for place, _ in tiles.tiles(400, 160, MULTIPLE)][1:]
    assert len(borders) >= 2
    for border in borders:
        assert slope[border - 2 : border + 1].max() < 0.01 * np.ptp(change)


def test_a_shift_of_the_tiles_changes_the_answer_only_little() -> None:
    networks = Patchy()
    image = np.random.default_rng(0).random((1, 3, 96, 480), np.float32)
    image *= np.linspace(0.2, 1, 480, dtype=np.float32)
    whole, shifted = (
        TiledNetworks(networks, (96, 160), MULTIPLE).prior(part, part[:, :1])[0] for part in (image, image[..., 48:])
    )
    inner = slice(100, 332)
    assert np.abs(whole[..., 48:] - shifted)[..., inner].max() < 0.5 * np.ptp((whole - image)[..., inner])
