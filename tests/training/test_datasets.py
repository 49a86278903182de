"""Datasets: determinism, weighting, the field's layouts, bad data."""

from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch

from shadowdiffusion.training.datasets import (
    CropConfig,
    PhotographedPairs,
    SyntheticPairs,
    read_pair,
    read_photo,
)
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.layouts import triplets

PHOTOS = Path(__file__).parents[1] / "data" / "photos" / "train"
CROP = CropConfig(size=48, smallest_side=80, largest_side=200)


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyvips.Image.new_from_array(pixels).write_to_file(str(path))


def _pairs(root: Path, names: tuple[str, str, str], count: int = 3, mask: bool = True) -> None:
    rng = np.random.default_rng(0)
    for i in range(count):
        clean = rng.integers(100, 200, (40, 60, 3), dtype=np.uint8)
        degraded = clean.copy()
        degraded[:, :30] //= 2
        _write(root / names[0] / f"{i}.png", degraded)
        _write(root / names[2] / f"{i}.png", clean)
        if mask:
            _write(
                root / names[1] / f"{i}.png", np.where(np.arange(60) < 30, 255, 0).astype(np.uint8)[None].repeat(40, 0)
            )


def test_samples_are_a_function_of_seed_and_index() -> None:
    a, b = (SyntheticPairs(PHOTOS, 7, CROP) for _ in range(2))
    first = [a.sample(i) for i in (0, 1, 5)]
    again = [b.sample(i) for i in (5, 1, 0)][::-1]
    for x, y in zip(first, again, strict=True):
        for key in x:
            assert torch.equal(x[key], y[key])  # type: ignore[literal-required]
    assert not torch.equal(first[0]["image"], SyntheticPairs(PHOTOS, 8, CROP).sample(0)["image"])


def test_sample_shapes_and_ranges() -> None:
    dataset = SyntheticPairs(PHOTOS, 0, CROP)
    for index in range(12):
        sample = dataset.sample(index)
        assert sample["image"].shape == sample["clean"].shape == (3, 48, 48)
        assert sample["mask"].shape == sample["matte"].shape == (1, 48, 48)
        for value in sample.values():
            assert isinstance(value, torch.Tensor)
            assert value.dtype == torch.float32
            assert value.min() >= 0
            assert value.max() <= 1


def test_groups_weight_the_draw() -> None:
    only = SyntheticPairs(PHOTOS, 0, CropConfig(size=32, recolour=0, composite=0), groups={"osm2world": 1.0})
    chosen = only._cumulative  # type: ignore[attr-defined]
    names = [f.name for f in only._files]  # type: ignore[attr-defined]
    share = np.diff(chosen, prepend=0)
    assert sum(s for s, n in zip(share, names, strict=True) if n.startswith("osm2world")) == pytest.approx(1)
    with pytest.raises(TrainingError, match="select no photo"):
        SyntheticPairs(PHOTOS, 0, groups={"nothing": 1.0})


def test_masks_of_another_size_are_resized(tmp_path: Path) -> None:
    _pairs(tmp_path, ("input", "mask", "gt"))
    _write(tmp_path / "mask" / "0.png", np.where(np.arange(30) < 15, 255, 0).astype(np.uint8)[None].repeat(20, 0))
    mask = read_pair(triplets(tmp_path, "test")[0]).mask
    assert mask.shape == (40, 60)
    assert mask[:, :28].min() > 0.95
    assert mask[:, 32:].max() < 0.05


def test_without_a_mask_the_difference_gives_one(tmp_path: Path) -> None:
    _pairs(tmp_path, ("input", "", "gt"), mask=False)
    assert read_pair(triplets(tmp_path, "test")[0]).mask.mean() == pytest.approx(0.5)


def test_photos_of_different_sizes_are_refused_at_native_size_only(tmp_path: Path) -> None:
    _pairs(tmp_path, ("input", "mask", "gt"))
    _write(tmp_path / "gt" / "0.png", np.full((20, 30, 3), 150, np.uint8))
    first = triplets(tmp_path, "test")[0]
    with pytest.raises(TrainingError, match="different sizes"):
        read_pair(first)
    assert read_pair(first, side=32).clean.shape == (32, 32, 3)


def test_pairs_degraded_everywhere_have_the_mask_one(tmp_path: Path) -> None:
    _pairs(tmp_path, ("train/input", "train/mask", "train/gt"))
    dataset = PhotographedPairs(triplets(tmp_path, "train"), seed=0, size=32, resize=64, everywhere=True)
    assert float(dataset.sample(0)["mask"].min()) == 1


def test_pairs_crop_all_fields_alike(tmp_path: Path) -> None:
    _pairs(tmp_path, ("train/input", "train/mask", "train/gt"))
    dataset = PhotographedPairs(triplets(tmp_path, "train"), seed=0, size=32, resize=64)
    for index in range(6):
        sample = dataset.sample(index)
        darker = (sample["clean"] - sample["image"]).mean(0) > 0.05
        agreement = (darker == (sample["mask"][0] > 0.5)).float().mean()
        assert agreement > 0.9
        assert torch.equal(sample["image"], dataset.sample(index)["image"])


def test_every_pair_once_per_pass(tmp_path: Path) -> None:
    _pairs(tmp_path, ("train/input", "train/mask", "train/gt"), count=5)
    dataset = PhotographedPairs(triplets(tmp_path, "train"), seed=1, size=64, resize=64)
    means = {round(float(dataset.sample(i)["clean"].mean()), 6) for i in range(5)}
    assert len(means) == 5


def test_broken_photo_is_one_clear_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes((PHOTOS / "osm2world_0005.jpg").read_bytes()[:2000])
    with pytest.raises(TrainingError, match="cannot read photo"):
        read_photo(broken)
