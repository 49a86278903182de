"""What a run minimises and how it is scored: one objective per network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from shadowdiffusion.training.config import FitConfig
from shadowdiffusion.training.datasets import Sample
from shadowdiffusion.training.degradation import SMALL as SMALL_PRIOR
from shadowdiffusion.training.degradation import UNKNOWN_MASK, DegradationConfig, DegradationPrior
from shadowdiffusion.training.denoiser import SIZES, Denoiser
from shadowdiffusion.training.diffusion import diffusion_loss
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.from_prior import FromPriorConfig, from_prior_loss, score_from_prior
from shadowdiffusion.training.metrics import psnr, ssim
from shadowdiffusion.training.prior_loss import exposure_loss, shadow_loss
from shadowdiffusion.training.schedule import DiffusionConfig, alpha_bars

Loss = Callable[[nn.Module, Sample, torch.Generator], dict[str, Tensor]]
Score = Callable[[nn.Module, Iterable[Sample]], dict[str, float]]

PRIOR_SIZES = {"small": SMALL_PRIOR, "paper": DegradationConfig(width=64, encoder=(2, 2, 4), middle=8)}


@dataclass(frozen=True)
class Objective:
    """A network with its loss and its validation score (`score` in the result: higher is better)."""

    network: nn.Module
    loss: Loss
    score: Score


class Trainable(nn.Module):
    """Network and loss behind one `forward`, so that data-parallel wrappers see every use of the weights."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.network = objective.network
        self.loss = objective.loss

    def forward(self, batch: Sample, generator: torch.Generator) -> dict[str, Tensor]:
        return self.loss(self.network, batch, generator)


def make_objective(config: FitConfig, diffusion: DiffusionConfig, prior: DegradationPrior | None = None) -> Objective:
    """The objective that `config.network` names; weights drawn from torch's global generator.

    prior: the finished one, which exactly `config.from_prior` needs.
    """
    if config.network == "prior":
        low, high = config.log_weight
        parts = replace(PRIOR_SIZES[config.size], veiled=config.veiled, calibrated=config.calibrated)
        size = replace(parts, min_log_weight=low, max_log_weight=high)
        if config.task == "shadow":
            return Objective(DegradationPrior(size), _shadow_loss, score_shadow)
        return Objective(DegradationPrior(size), _exposure_loss, score_exposure)

    levels = alpha_bars(diffusion)
    if config.from_prior is not None:
        assert prior is not None
        return _from_prior(Denoiser(SIZES[config.size]), prior, levels, config.from_prior)

    def denoiser_loss(network: nn.Module, batch: Sample, generator: torch.Generator) -> dict[str, Tensor]:
        parts = diffusion_loss(network, batch["image"], batch["clean"], batch["mask"], levels, generator)
        return {"loss": parts.total, "noise": parts.noise.detach(), "mask": parts.mask.detach()}

    def score(network: nn.Module, batches: Iterable[Sample]) -> dict[str, float]:
        generator = torch.Generator().manual_seed(0)
        total = [float(denoiser_loss(network, batch, generator)["loss"]) for batch in batches]
        return {"loss": sum(total) / len(total), "score": -sum(total) / len(total)}

    return Objective(Denoiser(SIZES[config.size]), denoiser_loss, score)


def _from_prior(network: Denoiser, prior: DegradationPrior, levels: Tensor, config: FromPriorConfig) -> Objective:
    if config.latest >= len(levels):
        raise TrainingError(f"latest {config.latest} must be below the {len(levels)} timesteps of the diffusion")

    def loss(network: nn.Module, batch: Sample, generator: torch.Generator) -> dict[str, Tensor]:
        return from_prior_loss(network, prior, batch, levels, config, generator)

    def score(network: nn.Module, batches: Iterable[Sample]) -> dict[str, float]:
        return score_from_prior(network, prior, batches, levels, config)

    return Objective(network, loss, score)


def _shadow_loss(network: nn.Module, batch: Sample, generator: torch.Generator) -> dict[str, Tensor]:
    assert isinstance(network, DegradationPrior)
    return shadow_loss(network, batch)


def _exposure_loss(network: nn.Module, batch: Sample, generator: torch.Generator) -> dict[str, Tensor]:
    assert isinstance(network, DegradationPrior)
    return exposure_loss(network, batch)


def score_exposure(network: nn.Module, batches: Iterable[Sample]) -> dict[str, float]:
    """Mean PSNR (dB) and SSIM of x_hat with the mask 1 everywhere, and PSNR of doing nothing."""
    values: dict[str, list[float]] = {"masked": [], "ssim": [], "identity": []}
    for batch in batches:
        clean = network(batch["image"], batch["mask"])[0]
        values["masked"] += psnr(clean, batch["clean"]).tolist()
        values["ssim"] += ssim(clean, batch["clean"]).tolist()
        values["identity"] += psnr(batch["image"], batch["clean"]).tolist()
    mean = {key: sum(v) / len(v) for key, v in values.items()}
    return {**mean, "score": mean["masked"]}


def score_shadow(network: nn.Module, batches: Iterable[Sample]) -> dict[str, float]:
    """Mean PSNR (dB) of x_hat with the drawn mask where there is one, with no mask, and of doing nothing."""
    values: dict[str, list[float]] = {"masked": [], "blind": [], "identity": []}
    for batch in batches:
        unknown = torch.full_like(batch["mask"], UNKNOWN_MASK)
        true_mask = (batch["matte"] > 0.5).to(batch["mask"].dtype)
        for key, mask in (("masked", true_mask), ("blind", unknown)):
            values[key] += psnr(network(batch["image"], mask)[0], batch["clean"]).tolist()
        values["identity"] += psnr(batch["image"], batch["clean"]).tolist()
    mean = {key: sum(v) / len(v) for key, v in values.items()}
    return {**mean, "score": mean["masked"] + mean["blind"]}
