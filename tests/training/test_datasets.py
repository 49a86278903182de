"""Datasets: determinism, weighting, the field's layouts, bad data."""

from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch

from training.datasets import (
    CropConfig,
    PhotographedPairs,
    SyntheticPairs,
    photos_in,
    read_pair,
    read_photo,
    triplets,
)
from training.errors import TrainingError

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


@pytest.mark.parametrize(
    "names",
    [
        ("test_A", "test_B", "test_C"),
        ("test/test_A", "test/test_B", "test/test_C"),
        ("input", "mask", "gt"),
        ("test/shadow", "test/mask", "test/shadow_free"),
    ],
)
def test_layouts_of_the_field(tmp_path: Path, names: tuple[str, str, str]) -> None:
    _pairs(tmp_path, names)
    files = triplets(tmp_path, "test")
    assert [f.degraded.stem for f in files] == ["0", "1", "2"]
    pair = read_pair(files[0])
    assert pair.mask.mean() == pytest.approx(0.5)
    assert pair.degraded.shape == (40, 60, 3)


def test_srd_names_and_missing_masks(tmp_path: Path) -> None:
    """SRD's truth is called NAME_no_shadow; without a mask folder the m* rule gives the mask."""
    _pairs(tmp_path, ("test_A", "", "test_C"), mask=False)
    for file in (tmp_path / "test_C").iterdir():
        file.rename(file.with_stem(file.stem + "_no_shadow"))
    files = triplets(tmp_path, "test")
    assert files[0].mask is None
    assert read_pair(files[0]).mask.mean() == pytest.approx(0.5)


def test_exposure_stacks_pair_every_scene_with_its_mid_shot(tmp_path: Path) -> None:
    for scene in ("002", "001"):
        for shot, value in (("low", 40), ("mid", 118), ("over", 230)):
            _write(tmp_path / scene / f"{shot}.png", np.full((20, 30, 3), value, np.uint8))
    assert [f.name for f in triplets(tmp_path, "low")] == ["001", "002"]
    for shot, value in (("low", 40), ("over", 230)):
        pair = read_pair(triplets(tmp_path, shot)[0], everywhere=True)
        assert pair.degraded.mean() * 255 == pytest.approx(value)
        assert pair.clean.mean() * 255 == pytest.approx(118)
        assert (pair.mask == 1).all()
    (tmp_path / "002" / "mid.png").unlink()
    with pytest.raises(TrainingError, match=r"002/low\.png lacks its partner"):
        triplets(tmp_path, "low")


def test_pairs_degraded_everywhere_have_the_mask_one(tmp_path: Path) -> None:
    _pairs(tmp_path, ("train_A", "train_B", "train_C"))
    dataset = PhotographedPairs(triplets(tmp_path, "train"), seed=0, size=32, resize=64, everywhere=True)
    assert float(dataset.sample(0)["mask"].min()) == 1


def test_pairs_crop_all_fields_alike(tmp_path: Path) -> None:
    _pairs(tmp_path, ("train_A", "train_B", "train_C"))
    dataset = PhotographedPairs(triplets(tmp_path, "train"), seed=0, size=32, resize=64)
    for index in range(6):
        sample = dataset.sample(index)
        darker = (sample["clean"] - sample["image"]).mean(0) > 0.05
        agreement = (darker == (sample["mask"][0] > 0.5)).float().mean()
        assert agreement > 0.9
        assert torch.equal(sample["image"], dataset.sample(index)["image"])


def test_every_pair_once_per_pass(tmp_path: Path) -> None:
    _pairs(tmp_path, ("train_A", "train_B", "train_C"), count=5)
    dataset = PhotographedPairs(triplets(tmp_path, "train"), seed=1, size=64, resize=64)
    means = {round(float(dataset.sample(i)["clean"].mean()), 6) for i in range(5)}
    assert len(means) == 5


def test_bad_data_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no folder"):
        photos_in(tmp_path / "absent")
    with pytest.raises(TrainingError, match="no photo in"):
        photos_in(tmp_path)
    with pytest.raises(TrainingError, match="no pairs in"):
        triplets(tmp_path, "train")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes((PHOTOS / "osm2world_0005.jpg").read_bytes()[:2000])
    with pytest.raises(TrainingError, match="cannot read photo"):
        read_photo(broken)
    _pairs(tmp_path, ("test_A", "test_B", "test_C"))
    (tmp_path / "test_C" / "1.png").unlink()
    with pytest.raises(TrainingError, match="lack a partner"):
        triplets(tmp_path, "test")
