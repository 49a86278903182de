"""The loop in host memory: a batch is its images one by one, and says how far it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from shadowdiffusion import runtime
from shadowdiffusion.runtime.bundle.folder import write_manifest
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.selection.loading import load
from tests.runtime.tiny import make_sampling, write_bundle


@pytest.fixture(scope="module")
def shipped() -> runtime.Restorer:
    return load(None, "portable", "cpu", 2)


@pytest.mark.parametrize("blind", [False, True])
@pytest.mark.parametrize("size", [(64, 96), (17, 33)])
def test_a_batch_equals_single_images_bit_for_bit(
    shipped: runtime.Restorer, size: tuple[int, int], blind: bool
) -> None:
    rng = np.random.default_rng(0)
    images = rng.random((3, 3, *size), np.float32)
    masks = None if blind else (rng.random((3, 1, *size)) > 0.5).astype(np.float32)
    seeds, table, seen = [7, 8, 7], shipped.bundle.table(2), list[tuple[int, int]]()
    batch = shipped.loop.restore(images, masks, table, seeds, True, lambda *done: seen.append(done))
    assert seen == [(done, 6) for done in range(1, 7)]
    assert batch.mask is not None
    assert batch.image.shape == (3, 3, *size)
    for index, seed in enumerate(seeds):
        one = slice(index, index + 1)
        single = shipped.loop.restore(images[one], None if masks is None else masks[one], table, [seed], True)
        assert single.mask is not None
        for name in ("image", "clean", "mask", "illumination"):
            np.testing.assert_array_equal(getattr(batch, name)[one], getattr(single, name))


@pytest.mark.parametrize("prior", [True, False])
def test_what_is_degraded_everywhere_needs_no_mask(tmp_path: Path, prior: bool) -> None:
    path = write_bundle(tmp_path / "b", make_sampling(data_consistency=prior), prior=prior)
    manifest = load_bundle(path).manifest
    write_manifest(path, replace(manifest, model=replace(manifest.model, matte_threshold=0.0)))
    restorer = load(path, "portable", "cpu", 1)
    image = np.random.default_rng(1).random((1, 3, 24, 32), np.float32)
    table, everywhere = restorer.bundle.table(2), np.ones((1, 1, 24, 32), np.float32)
    blind, given = (restorer.loop.restore(image, mask, table, [3], True) for mask in (None, everywhere))
    for name in ("image", "clean", "mask", "illumination"):
        np.testing.assert_array_equal(getattr(blind, name), getattr(given, name))


def test_equal_images_with_other_seeds_differ(shipped: runtime.Restorer) -> None:
    image = np.random.default_rng(1).random((1, 3, 32, 32), np.float32)
    mask = np.ones((1, 1, 32, 32), np.float32)
    table = shipped.bundle.table(2)
    first, second = shipped.loop.restore(np.tile(image, (2, 1, 1, 1)), np.tile(mask, (2, 1, 1, 1)), table, [1, 2]).image
    assert not np.array_equal(first, second)
