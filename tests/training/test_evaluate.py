"""Evaluation of checkpoints, and the training command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch
from typer.testing import CliRunner

from shadowdiffusion.training.checkpoint import Model, save_checkpoint
from shadowdiffusion.training.cli import app
from shadowdiffusion.training.datasets import as_sample, read_pair
from shadowdiffusion.training.degradation import DegradationConfig, DegradationPrior
from shadowdiffusion.training.denoiser import Denoiser, DenoiserConfig
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.evaluate import Quality, evaluate, restore
from shadowdiffusion.training.layouts import triplets
from shadowdiffusion.training.sampler import SamplerOptions

PHOTOS = Path(__file__).parents[1] / "data" / "photos"


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    return Model(
        denoiser=Denoiser(DenoiserConfig(base=8, multipliers=(1, 2), blocks=1, groups=4, patch=2)).eval(),
        prior=DegradationPrior(DegradationConfig(width=8, encoder=(1,), middle=1, decoder=(1,))).eval(),
    )


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    clean = np.random.default_rng(0).integers(90, 200, (21, 35, 3), dtype=np.uint8)
    shadow = np.zeros((21, 35), np.uint8)
    shadow[5:15, 5:25] = 255
    degraded = np.where(shadow[..., None] > 0, clean // 2, clean).astype(np.uint8)
    for folder, pixels in (("input", degraded), ("mask", shadow), ("gt", clean)):
        (tmp_path / folder).mkdir()
        pyvips.Image.new_from_array(pixels).write_to_file(str(tmp_path / folder / "1.png"))
    return tmp_path


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (33, 17)])
@pytest.mark.parametrize("masked", [True, False])
def test_any_size_in_same_size_out(model: Model, size: tuple[int, int], masked: bool) -> None:
    image = torch.rand(1, 3, *size)
    mask = torch.ones(1, 1, *size) if masked else None
    restored, clean, found = restore(model, image, mask, SamplerOptions(steps=2), seed=0)
    assert restored is not None
    assert restored.shape == clean.shape == image.shape
    assert found.shape[-2:] == image.shape[-2:]
    assert restored.min() >= 0
    assert restored.max() <= 1


def _restored(model: Model, image: torch.Tensor, seed: int) -> torch.Tensor:
    restored = restore(model, image, None, SamplerOptions(steps=2), seed)[0]
    assert restored is not None
    return restored


def test_same_seed_same_picture(model: Model) -> None:
    image = torch.rand(1, 3, 16, 16)
    a, b, c = (_restored(model, image, seed) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_the_prior_is_needed_and_enough(model: Model, pairs: Path) -> None:
    with pytest.raises(TrainingError, match="needs a prior"):
        restore(Model(denoiser=model.denoiser), torch.rand(1, 3, 16, 16), None, SamplerOptions(), 0)
    (both, alone) = (
        list(evaluate(m, triplets(pairs, "test"), SamplerOptions(steps=1))) for m in (model, Model(prior=model.prior))
    )
    assert [s.prior for s in alone] == [s.prior for s in both]
    assert [s.diffusion for s in alone] == [None, None]


def test_exposure_is_scored_once_with_the_mask_one_everywhere(model: Model, pairs: Path) -> None:
    """The prior sees the mask 1, whatever the pair's mask says and whichever masks were asked for."""
    exposure = Model(prior=model.prior, task="exposure")
    (score,) = evaluate(exposure, triplets(pairs, "test"), SamplerOptions())
    sample = as_sample(read_pair(triplets(pairs, "test")[0]))
    image, clean = sample["image"][None], sample["clean"][None]
    _, expected, _ = restore(exposure, image, torch.ones_like(image[:, :1]), SamplerOptions(), 0)
    assert score.mask == "whole"
    assert score.prior == Quality.of(expected, clean)


def test_scores(model: Model, pairs: Path) -> None:
    scores = list(evaluate(model, triplets(pairs, "test"), SamplerOptions(steps=1)))
    assert [s.mask for s in scores] == ["given", "blind"]
    assert scores[0].identity == scores[1].identity
    assert 5 < scores[0].identity.psnr < 40
    assert 0 < scores[0].identity.ssim < 1


def test_command_line_evaluates(model: Model, pairs: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "m.safetensors"
    save_checkpoint(checkpoint, model)
    result = CliRunner().invoke(app, ["evaluate", str(checkpoint), "--data", str(pairs), "--steps", "2", "--json"])
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["mask"] for line in result.output.splitlines()] == ["given", "blind"]
    table = CliRunner().invoke(app, ["evaluate", str(checkpoint), "--data", str(pairs), "--mask", "given"])
    assert "mean" in table.output
    assert "blind" not in table.output
    save_checkpoint(checkpoint, Model(prior=model.prior, task="low-light"))
    alone = CliRunner().invoke(app, ["evaluate", str(checkpoint), "--data", str(pairs)])
    mean = alone.output.splitlines()[-1].split()
    assert mean[:2] == ["mean", "whole"]
    assert mean[-1] == "-"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "absent.safetensors", "--data", "."], "is not in layout pairs"),
        (["fit", "--config", "absent", "--data", ".", "-o", "out"], "no configuration"),
        (["fit", "--config", "shadow-small-prior", "--data", "absent", "-o", "out"], "no folder"),
        (["fit", "--config", "shadow-small-prior", "--data", ".", "-o", "out", "--steps", "0"], "steps"),
        (
            ["fit", "--config", "exposure-small-prior", "--data", str(PHOTOS), "-o", "out", "--init", "absent"],
            "checkpoint absent does not exist",
        ),
        (["import-checkpoint", "absent.pth", "-o", "out.safetensors"], "absent.pth"),
        (["contact-sheet", "--config", "absent", "--data", ".", "-o", "x.png"], "no configuration"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("config", ["shadow-small-prior", "exposure-small-prior"])
def test_contact_sheet(tmp_path: Path, config: str) -> None:
    output = tmp_path / "sheet.png"
    command = [
        "contact-sheet",
        "--config",
        config,
        "--data",
        str(PHOTOS),
        "-o",
        str(output),
        "--count",
        "7",
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    sheet = pyvips.Image.new_from_file(str(output))
    assert (sheet.width, sheet.height) == (6 * 256 + 5 * 4, 2 * 128 + 4)
