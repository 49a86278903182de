"""The folders of the published sets: what belongs together, which part is which, and training on each of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState
from typer.testing import CliRunner

from shadowdiffusion.training.checkpoint import load_checkpoints
from shadowdiffusion.training.cli import app
from shadowdiffusion.training.config import load_config
from shadowdiffusion.training.datasets import read_pair
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.layouts import LAYOUTS, LayoutName, photos_in, triplets
from tests.training import trees

TREES: dict[LayoutName, Callable[[Path], None]] = {
    "pairs": trees.pairs,
    "stacks": trees.stacks,
    "istd": trees.istd,
    "istd-plus": trees.istd_plus,
    "srd": trees.srd,
    "lol": trees.lol,
    "msec": trees.msec,
    "sice": trees.sice,
}


@pytest.fixture(autouse=True)
def fresh_accelerate() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)


def test_every_layout_has_a_tree() -> None:
    assert set(TREES) == set(LAYOUTS)


@pytest.mark.parametrize(
    ("layout", "split", "names"),
    [
        ("pairs", "test", ["photo_0", "photo_1"]),
        ("istd", "train", ["90-1", "91-2", "92-3"]),
        ("istd", "test", ["90-1", "91-2"]),
        ("istd-plus", "train", ["90-1", "91-2", "92-3"]),
        ("srd", "train", ["IMG_5000", "IMG_5001", "IMG_5002"]),
        ("srd", "test", ["_MG_2700", "_MG_2701"]),
        ("lol", "train", ["1", "2", "3"]),
        ("lol", "validation", ["1", "2"]),
        ("sice", "train", ["1_1", "1_2", "1_3", "2_1", "2_2", "2_3", "10_1", "10_2", "10_3"]),
        ("sice", "test", ["1_1", "1_2", "1_3", "2_1", "2_2", "2_3"]),
        ("stacks", "test", ["001_low", "002_low", "001_over", "002_over"]),
        ("stacks", "over", ["001_over", "002_over"]),
    ],
)
def test_photos_of_a_split(tmp_path: Path, layout: LayoutName, split: str, names: list[str]) -> None:
    TREES[layout](tmp_path)
    assert [pair.name for pair in triplets(tmp_path, split, layout)] == names


@pytest.mark.parametrize("layout", ["pairs", "istd", "istd-plus", "srd"])
def test_shadow_sets_have_masks(tmp_path: Path, layout: LayoutName) -> None:
    TREES[layout](tmp_path)
    for files in triplets(tmp_path, "test", layout):
        assert read_pair(files).mask.mean() == pytest.approx(0.5)


def test_istd_plus_has_the_adjusted_truth(tmp_path: Path) -> None:
    trees.istd_plus(tmp_path)
    for split, by in (("train", "ours"), ("test", "official")):
        assert {p.clean.parent.name for p in triplets(tmp_path, split, "istd-plus")} == {f"{split}_C_fixed_{by}"}
        assert {p.clean.parent.name for p in triplets(tmp_path, split, "istd")} == {f"{split}_C"}


def test_istd_plus_in_the_folders_of_istd(tmp_path: Path) -> None:
    trees.istd(tmp_path)
    assert triplets(tmp_path, "test", "istd-plus") == triplets(tmp_path, "test", "istd")


def test_srd_with_the_folders_of_istd_and_without_masks(tmp_path: Path) -> None:
    trees.shadow_pair(tmp_path / "train", ("train_A", "train_B", "train_C"), "IMG_1", "_no_shadow", 0, "jpg")
    trees.shadow_pair(tmp_path / "test", ("test_A", "other", "test_C"), "IMG_2", "_free", 0, "jpg")
    (pair,) = triplets(tmp_path, "train", "srd")
    assert pair.mask is not None
    (pair,) = triplets(tmp_path, "test", "srd")
    assert pair.mask is None


def test_exposures_share_their_truth(tmp_path: Path) -> None:
    trees.msec(tmp_path)
    for split, part in (("train", "training"), ("validation", "validation")):
        found = triplets(tmp_path, split, "msec")
        assert len(found) == 10
        assert {p.clean.relative_to(tmp_path).as_posix() for p in found} == {
            f"{part}/GT_IMAGES/a0001-jmac_DSC1459.jpg",
            f"{part}/GT_IMAGES/a0009-kme_372.jpg",
        }
    assert found[1].name == "a0001-jmac_DSC1459_N1.5"


def test_every_exposure_is_tested_against_five_experts_in_turn(tmp_path: Path) -> None:
    trees.msec(tmp_path)
    found = triplets(tmp_path, "test", "msec")
    assert len(found) == 50
    assert [p.subset for p in found[:6]] == ["A", "B", "C", "D", "E", "A"]
    assert len({p.degraded for p in found[:5]}) == 1
    assert found[1].clean.parent.name == "expert_b_testing_set"


def test_sice_in_a_folder_of_its_own_name(tmp_path: Path) -> None:
    trees.sice(tmp_path / "plain")
    part = tmp_path / "nested" / "Dataset_Part1"
    part.mkdir(parents=True)
    (tmp_path / "plain" / "Dataset_Part1").rename(part / "Dataset_Part1")
    assert len(triplets(tmp_path / "nested", "train", "sice")) == 9


def test_exposure_stacks_pair_every_shot_with_the_mid_one(tmp_path: Path) -> None:
    trees.stacks(tmp_path)
    for shot, value in (("low", 40), ("over", 230)):
        pair = read_pair(triplets(tmp_path, shot, "stacks")[0], everywhere=True)
        assert pair.degraded.mean() * 255 == pytest.approx(value)
        assert pair.clean.mean() * 255 == pytest.approx(118)
        assert (pair.mask == 1).all()
    (tmp_path / "002" / "mid.png").unlink()
    with pytest.raises(TrainingError, match=r"002/low\.png lacks its partner"):
        triplets(tmp_path, "low", "stacks")


def test_another_tree_is_one_line_that_says_what_was_looked_for(tmp_path: Path) -> None:
    trees.lol(tmp_path)
    with pytest.raises(TrainingError) as error:
        triplets(tmp_path, "train", "istd")
    assert "\n" not in str(error.value)
    assert f"there is no folder train_A in {tmp_path / 'train'} or {tmp_path}" in str(error.value)
    assert str(error.value).endswith("it looks like layout lol")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_empty_folder(tmp_path: Path, layout: LayoutName) -> None:
    with pytest.raises(TrainingError, match=f"is not in layout {layout}: there (is|are) no folder"):
        triplets(tmp_path, "train", layout)
    with pytest.raises(TrainingError, match="no folder"):
        triplets(tmp_path / "absent", "train", layout)


def test_folders_without_photos(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no folder"):
        photos_in(tmp_path / "absent")
    with pytest.raises(TrainingError, match="no photo in"):
        photos_in(tmp_path)


@pytest.mark.parametrize(
    ("layout", "file"),
    [("istd", "test/test_C/91-2.png"), ("lol", "eval15/high/2.png"), ("sice", "Dataset_Part2/Label/2.JPG")],
)
def test_a_lone_photo_is_named(tmp_path: Path, layout: LayoutName, file: str) -> None:
    TREES[layout](tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(TrainingError, match=r"1 of 2 (photos|scenes) in .* lack a (partner|photo) .*2.* for one"):
        triplets(tmp_path, "test", layout)


TINY = """
extends = "{}"
size = "small"
steps = 2
batch = 2
workers = 0
precision = "no"
warmup = 0
validate_every = 2
validation_samples = 2
checkpoint_every = 2

[data]
resize = 48

[data.crop]
size = 32
"""


SETS: dict[str, tuple[str, LayoutName]] = {
    "shadow-istd": ("shadow", "istd"),
    "shadow-istd-plus": ("shadow", "istd-plus"),
    "shadow-srd": ("shadow", "srd"),
    "low-light-lol": ("low-light", "lol"),
    "exposure-msec": ("exposure", "msec"),
    "exposure-sice": ("exposure", "sice"),
}


@pytest.mark.parametrize("config", SETS)
def test_configurations_hold_the_settings_of_the_paper(config: str) -> None:
    denoiser, prior = load_config(config), load_config(config, "prior")
    assert (denoiser.network, prior.network) == ("denoiser", "prior")
    assert denoiser.size == prior.size == "paper"
    assert denoiser.learning_rate == denoiser.final_learning_rate == 3e-5
    assert (denoiser.batch, denoiser.ema, denoiser.weight_decay) == (12, 0.9999, 0)
    for each in (denoiser, prior):
        assert (each.task, each.data.layout) == SETS[config]
        assert (each.data.resize, each.data.crop.size) == (256, 160)


@pytest.mark.parametrize(("config", "network"), [*zip(SETS, ("denoiser", "prior") * 3, strict=True)])
def test_training_on_every_set(tmp_path: Path, config: str, network: str) -> None:
    task, layout = SETS[config]
    TREES[layout](tmp_path / "data")
    (tmp_path / "tiny.toml").write_text(TINY.format(config))
    command = ["fit", "--config", str(tmp_path / "tiny.toml"), "--network", network, "--quiet"]
    result = CliRunner().invoke(app, [*command, "--data", str(tmp_path / "data"), "-o", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    model = load_checkpoints(tmp_path / "run" / "best.safetensors")
    assert model.task == task
    assert getattr(model, network) is not None
    assert model.recipe[network]["data"]["layout"] == layout


def test_training_needs_other_pairs_to_validate_on(tmp_path: Path) -> None:
    trees.pairs(tmp_path)
    command = ["fit", "--config", "paper", "--data", str(tmp_path), "-o", str(tmp_path / "run")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert "no pairs to validate on" in result.output
