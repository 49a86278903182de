"""The denoiser's estimate by noise level."""

from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch
from typer.testing import CliRunner

from shadowdiffusion.training.checkpoint import Model, save_checkpoint
from shadowdiffusion.training.cli import app
from shadowdiffusion.training.degradation import DegradationConfig, DegradationPrior
from shadowdiffusion.training.denoiser import Denoiser, DenoiserConfig
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.evaluate import evaluate
from shadowdiffusion.training.layouts import triplets
from shadowdiffusion.training.noise_levels import mean_levels
from shadowdiffusion.training.sampler import SamplerOptions


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


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    denoiser = Denoiser(DenoiserConfig(base=8, multipliers=(1, 2), blocks=1, groups=4, patch=2)).eval()
    torch.nn.init.normal_(denoiser.noise_conv.weight, 0, 0.1)
    return Model(
        denoiser=denoiser,
        prior=DegradationPrior(DegradationConfig(width=8, encoder=(1,), middle=1, decoder=(1,))).eval(),
    )


@pytest.mark.parametrize("blind", [False, True])
def test_from_the_prior_it_is_what_one_step_without_the_prior_in_it_gives(
    model: Model, pairs: Path, blind: bool
) -> None:
    files = triplets(pairs, "test", "pairs")
    (level,) = mean_levels(model, files, blind, [30])
    options = SamplerOptions(steps=1, start=30, data_consistency=False)
    (score,) = evaluate(model, files, options, ("blind" if blind else "given",))
    assert score.diffusion is not None
    assert level.prior == pytest.approx(score.prior.psnr, abs=1e-4)
    assert level.from_prior == pytest.approx(score.diffusion.psnr, abs=1e-3)


def test_without_a_prediction_only_the_noise_is_left_of_the_clean_photo(model: Model, pairs: Path) -> None:
    assert model.denoiser is not None
    torch.nn.init.zeros_(model.denoiser.noise_conv.weight)
    for level in mean_levels(model, triplets(pairs, "test", "pairs"), False, [1, 20]):
        left = level.noise / np.sqrt(1 - level.noise**2) / 2
        assert level.from_clean == pytest.approx(-20 * np.log10(left), abs=0.3)
        assert level.from_prior < level.from_clean


def test_what_is_missing_or_out_of_range_is_one_clear_error(model: Model, pairs: Path) -> None:
    files = triplets(pairs, "test", "pairs")
    with pytest.raises(TrainingError, match="need a prior and a denoiser"):
        next(mean_levels(Model(prior=model.prior), files, False))
    with pytest.raises(TrainingError, match=r"must lie in 0 \.\. 999"):
        next(mean_levels(model, files, False, [1000]))


def test_command(model: Model, pairs: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "both.safetensors", model)
    arguments = ["noise-levels", str(tmp_path / "both.safetensors"), "--data", str(pairs), "--time", "5", "--blind"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    header, row = result.output.splitlines()
    assert header.split()[:3] == ["t", "noise", "prior"]
    assert row.split()[0] == "5"
    assert CliRunner().invoke(app, [*arguments, "--time", "5000"]).exit_code == 2
