"""Made pairs on disk: what the loaders and the quality benchmark read is what the generator drew."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from shadowdiffusion.training.config import DataConfig, FitConfig
from shadowdiffusion.training.datasets import CropConfig, read_pair
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.fit import open_data
from shadowdiffusion.training.layouts import triplets
from shadowdiffusion.training.made_pairs import write_pairs
from shadowdiffusion.training.shadows import ShadowConfig

PHOTOS = Path(__file__).parents[1] / "data" / "photos"


def config(task: str) -> FitConfig:
    crop = CropConfig(size=48, smallest_side=64, largest_side=128)
    return FitConfig(network="prior", size="small", steps=1, task=task, data=DataConfig(crop=crop))  # type: ignore[arg-type]


def test_shadows_are_pairs_with_masks(tmp_path: Path) -> None:
    data = open_data(config("shadow"), PHOTOS)[1]
    write_pairs(data, tmp_path / "made", 3, everywhere=False)
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "made").stat().st_mode == (tmp_path / "plain").stat().st_mode
    files = triplets(tmp_path / "made", "test")
    assert [pair.name for pair in files] == ["000", "001", "002"]
    shadowed = [sample for sample in map(data.sample, range(9)) if sample["matte"].max() > 0.5]
    for sample, pair in zip(shadowed, files, strict=False):
        read = read_pair(pair)
        assert np.abs(read.degraded - sample["image"].numpy().transpose(1, 2, 0)).max() <= 0.5 / 255 + 1e-6
        assert np.abs(read.clean - sample["clean"].numpy().transpose(1, 2, 0)).max() <= 0.5 / 255 + 1e-6
        assert np.array_equal(read.mask, (sample["matte"][0] > 0.5).numpy())


def test_exposures_are_stacks(tmp_path: Path) -> None:
    data = open_data(config("exposure"), PHOTOS)[1]
    write_pairs(data, tmp_path / "made", 6, everywhere=True)
    files = triplets(tmp_path / "made", "test", "stacks")
    assert len(files) == 6
    for pair in files:
        darker = read_pair(pair).degraded.mean() < read_pair(pair).clean.mean()
        assert pair.subset == ("low" if darker else "over")


def test_a_generator_without_shadows_is_refused(tmp_path: Path) -> None:
    lit = replace(config("shadow"), data=replace(config("shadow").data, shadow=ShadowConfig(none=1.0)))
    with pytest.raises(TrainingError, match="20 samples have 0 shadows"):
        write_pairs(open_data(lit, PHOTOS)[1], tmp_path / "made", 2, everywhere=False)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path) -> None:
    data = open_data(config("shadow"), PHOTOS)[1]
    with pytest.raises(TrainingError, match="exists: name a new folder"):
        write_pairs(data, tmp_path, 1, everywhere=False)

    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"cannot write .*/file/made"):
        write_pairs(data, tmp_path / "file" / "made", 1, everywhere=False)

    class Failing:
        def sample(self, index: int) -> None:
            raise TrainingError("no photo")

    with pytest.raises(TrainingError, match="no photo"):
        write_pairs(Failing(), tmp_path / "made", 1, everywhere=False)  # type: ignore[arg-type]
    assert not [path for path in tmp_path.iterdir() if "made" in path.name]
