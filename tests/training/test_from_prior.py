"""Training the denoiser on the prior's own estimates: it sees what sampling begins with."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import Tensor
from typer.testing import CliRunner

from shadowdiffusion.training.checkpoint import Model, load_checkpoints, save_checkpoint
from shadowdiffusion.training.cli import app
from shadowdiffusion.training.config import load_config
from shadowdiffusion.training.datasets import Sample
from shadowdiffusion.training.degradation import (
    SMALL,
    UNKNOWN_MASK,
    DegradationConfig,
    DegradationPrior,
    found_mask,
    illumination,
)
from shadowdiffusion.training.denoiser import Denoiser, DenoiserConfig
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.from_prior import (
    FLOOR,
    FromPriorConfig,
    begin,
    from_prior_loss,
    restored,
    score_from_prior,
    timesteps,
)
from shadowdiffusion.training.sampler import SamplerOptions, sample
from shadowdiffusion.training.schedule import DiffusionConfig, alpha_bars

TABLE = alpha_bars(DiffusionConfig())
PHOTOS = Path(__file__).parents[1] / "data" / "photos"


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def prior() -> DegradationPrior:
    """One that takes some pixels for shadow and others not."""
    torch.manual_seed(0)
    prior = DegradationPrior(DegradationConfig(width=8, encoder=(1,), middle=1, decoder=(1,))).eval()
    torch.nn.init.normal_(prior.matte_head.weight, 0, 3)
    torch.nn.init.ones_(prior.state_dict()["matte_head.bias"])
    return prior.requires_grad_(False)


@pytest.fixture
def denoiser() -> Denoiser:
    torch.manual_seed(1)
    denoiser = Denoiser(DenoiserConfig(base=8, multipliers=(1, 2), blocks=1, groups=4, patch=2))
    torch.nn.init.normal_(denoiser.noise_conv.weight, 0, 0.1)
    return denoiser


@pytest.fixture
def batch() -> Sample:
    """Three photos whose left half is darker; nobody knows the mask of the second."""
    clean = 0.3 + 0.6 * torch.rand(3, 3, 32, 32, generator=seeded(2))
    matte = torch.zeros(3, 1, 32, 32)
    matte[..., :16] = 1.0
    mask = matte.clone()
    mask[1] = UNKNOWN_MASK
    return Sample(image=clean * (1 - 0.6 * matte), clean=clean, mask=mask, matte=matte)


def test_it_begins_as_sampling_does(prior: DegradationPrior, batch: Sample) -> None:
    state = begin(prior, batch["image"], batch["mask"])
    found = found_mask(prior, batch["image"][1:2])
    assert 0 < float(found.mean()) < 1
    assert torch.equal(state.mask[1:2], found)
    assert torch.equal(state.mask[[0, 2]], batch["mask"][[0, 2]])
    assert bool((batch["mask"][1] == UNKNOWN_MASK).all())  # the batch itself stays as it was
    assert torch.allclose(state.clean, prior(batch["image"], state.mask)[0], atol=1e-6)


@pytest.mark.parametrize(("t", "rho"), [(1, 0.2), (10, 0.05), (200, 1.0)])
def test_one_step_is_the_samplers(
    prior: DegradationPrior, denoiser: Denoiser, batch: Sample, t: int, rho: float
) -> None:
    y, noise = batch["image"], torch.randn(3, 3, 32, 32, generator=seeded(4))
    state = begin(prior, y, batch["mask"])
    x, mask = restored(denoiser, y, state, torch.full((3,), t), noise, TABLE, rho)
    options = SamplerOptions(steps=1, start=t, rho=rho)
    h = illumination(y, state.clean)
    sampled = sample(denoiser, y, state.mask, h, state.clean, lambda _: noise, options, DiffusionConfig())
    assert torch.allclose(2 * x - 1, sampled.x, atol=1e-5)
    assert torch.allclose(mask, sampled.mask, atol=1e-6)


def test_timesteps_are_log_uniform() -> None:
    drawn = timesteps(20_000, 10, seeded())
    share = torch.bincount(drawn, minlength=11).double() / len(drawn)
    expected = [0.0] + [math.log((t + 1) / t) / math.log(11) for t in range(1, 11)]
    assert torch.allclose(share, torch.tensor(expected, dtype=torch.float64), atol=0.015)
    assert set(timesteps(20, 1, seeded()).tolist()) == {1}


def test_who_keeps_the_estimate_gains_nothing_and_who_knows_the_photo_gains_all(
    prior: DegradationPrior, batch: Sample
) -> None:
    config = FromPriorConfig(latest=20, rho=0.5)
    estimate = begin(prior, batch["image"], batch["mask"]).clean

    def aiming_at(goal: Tensor, y: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        level = TABLE[t.long()].view(-1, 1, 1, 1)
        noise = (x_t - level.sqrt() * (2 * goal - 1)) / (1 - level).sqrt()
        return noise.float(), (((batch["clean"] - batch["image"]).mean(1, keepdim=True)) >= 0.05).float()

    kept = from_prior_loss(lambda y, m, x, t: aiming_at(estimate, y, x, t), prior, batch, TABLE, config, seeded())
    assert float(kept["gain"]) == pytest.approx(0.0, abs=0.01)
    assert float(kept["mask"]) == 0.0
    before = (estimate - batch["clean"]).square().mean((1, 2, 3))
    assert float(kept["loss"]) == pytest.approx(float(torch.log(before + FLOOR).mean()), abs=0.01)

    # Eq. 13: x = (h y + rho z) / (h^2 + rho); with y = h x_hat, what is left of an error is h^2 / (h^2 + rho) of it
    h = illumination(batch["image"], estimate)
    left = ((estimate - batch["clean"]) * h**2 / (h**2 + config.rho)).square().mean((1, 2, 3))
    known = from_prior_loss(
        lambda y, m, x, t: aiming_at(batch["clean"], y, x, t), prior, batch, TABLE, config, seeded()
    )
    assert float(known["loss"]) == pytest.approx(float(torch.log(left + FLOOR).mean()), abs=0.01)
    assert float(known["gain"]) > 1


def test_a_few_steps_gain_over_the_prior(prior: DegradationPrior, denoiser: Denoiser, batch: Sample) -> None:
    config = FromPriorConfig()
    before = {name: value.clone() for name, value in prior.state_dict().items()}
    first = score_from_prior(denoiser, prior, [batch], TABLE, config)
    optimiser = torch.optim.Adam(denoiser.parameters(), 1e-2)
    for step in range(40):
        optimiser.zero_grad()
        from_prior_loss(denoiser, prior, batch, TABLE, config, seeded(step))["loss"].backward()
        optimiser.step()
    last = score_from_prior(denoiser, prior, [batch], TABLE, config)
    assert last["masked"] > max(first["masked"], 0.5)
    assert last["score"] == last["masked"] + last["blind"]
    assert last["mask"] < first["mask"]
    assert all(torch.equal(value, before[name]) for name, value in prior.state_dict().items())


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    AcceleratorState._reset_state(reset_partial_state=True)
    torch.manual_seed(0)
    paths = {name: tmp_path / f"{name}.{'toml' if 'config' in name else 'safetensors'}" for name in ("prior", "config")}
    save_checkpoint(paths["prior"], Model(prior=DegradationPrior(SMALL)))
    paths["config"].write_text(
        'network = "denoiser"\nsize = "small"\nsteps = 2\nbatch = 2\nworkers = 0\nvalidation_samples = 2\n'
        "[from_prior]\n[data.crop]\nsize = 32\nsmallest_side = 64\nlargest_side = 128"
    )
    return paths


def _fit(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["fit", "--data", str(PHOTOS), "--quiet", *map(str, words)])
    return result.exit_code, result.output


def test_command_trains_with_a_prior(files: dict[str, Path], tmp_path: Path) -> None:
    code, output = _fit("--config", files["config"], "--prior", files["prior"], "-o", tmp_path / "run")
    assert code == 0, output
    model = load_checkpoints(tmp_path / "run/last.safetensors")
    assert model.denoiser is not None
    assert model.prior is None
    recipe = model.recipe["denoiser"]
    assert recipe["prior"] == "prior.safetensors"
    assert recipe["from_prior"] == {"latest": 10, "rho": 0.2}
    assert {"masked", "blind", "masked_latest", "blind_latest"} <= recipe["validation"].keys()


def test_a_prior_is_given_exactly_when_it_is_wanted(files: dict[str, Path], tmp_path: Path) -> None:
    code, output = _fit("--config", files["config"], "-o", tmp_path / "run")
    assert (code, output.count("\n")) == (2, 1)
    assert "give its checkpoint with --prior" in output
    code, output = _fit("--config", "shadow-small-denoiser", "--prior", files["prior"], "-o", tmp_path / "run")
    assert (code, output.count("\n")) == (2, 1)
    assert "this one has none" in output
    save_checkpoint(files["prior"], Model(denoiser=Denoiser(DenoiserConfig(8, (1,), 1, 4))))
    code, output = _fit("--config", files["config"], "--prior", files["prior"], "-o", tmp_path / "run")
    assert (code, output.count("\n")) == (2, 1)
    assert "holds no prior" in output
    assert not (tmp_path / "run").exists()


def test_the_latest_timestep_must_be_one(files: dict[str, Path], tmp_path: Path) -> None:
    files["config"].write_text(files["config"].read_text().replace("[from_prior]", "[from_prior]\nlatest = 1000"))
    code, output = _fit("--config", files["config"], "--prior", files["prior"], "-o", tmp_path / "run")
    assert (code, output.count("\n")) == (2, 1)
    assert "latest 1000" in output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[from_prior]\nlatest = 0", "latest"),
        ("[from_prior]\nrho = 0", "rho"),
        ("[from_prior]\nlater = 3", "later"),
        ('network = "prior"\n[from_prior]', "is for denoisers"),
    ],
)
def test_bad_configuration_names_the_value(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(f'extends = "shadow-small-denoiser-from-prior"\n{text}')
    with pytest.raises(TrainingError, match=message):
        load_config(str(path))
