"""Training the denoiser on the states that sampling from the prior begins with: the prior's own estimates, noised.

A denoiser that has only met noise on clean photos takes the prior's errors for the photo. Here its input holds them,
and its loss is on what Eq. 13 (ShadowDiffusion, CVPR 2023) makes of its estimate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import torch
from torch import Tensor, nn

from shadowdiffusion.training.datasets import Sample
from shadowdiffusion.training.degradation import (
    UNKNOWN_MASK,
    DegradationPrior,
    found_mask,
    illumination,
    mask_unknown,
    residual_mask,
)
from shadowdiffusion.training.diffusion import MASK_WEIGHT, Denoise, add_noise
from shadowdiffusion.training.metrics import psnr
from shadowdiffusion.training.prior_update import blend_coefficients

FLOOR = 1e-5  # of the squared error: photos without a shadow, which hardly have any, shall not rule


class FromPriorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The steps to train for. Timesteps are log-uniform from 1 to `latest`, the last one to start sampling at."""

    latest: int = 10
    rho: float = 0.2  # weight of the denoiser's estimate in Eq. 13

    def __post_init__(self) -> None:
        if self.latest < 1:
            raise ValueError("latest must be at least 1")
        if not (math.isfinite(self.rho) and self.rho > 0):
            raise ValueError("rho must be above 0")


class State(NamedTuple):
    """What sampling knows when it begins."""

    mask: Tensor  # float32[N, 1, H, W] in [0, 1]: the given one, or where the prior found a shadow
    clean: Tensor  # float32[N, 3, H, W] in [0, 1]: x_hat


@torch.no_grad()
def begin(prior: DegradationPrior, image: Tensor, mask: Tensor) -> State:
    """The prior's part, as the runtime does it. image: float32[N, 3, H, W]; mask: float32[N, 1, H, W], see `Sample`."""
    with torch.autocast(image.device.type, enabled=False):
        unknown = mask_unknown(mask)
        if unknown.any():
            mask = mask.clone()
            mask[unknown] = found_mask(prior, image[unknown])
        return State(mask, prior.estimate(image, mask).clean)


def restored(
    denoise: Denoise, image: Tensor, state: State, t: Tensor, noise: Tensor, alpha_bar: Tensor, rho: float
) -> tuple[Tensor, Tensor]:
    """One step at timesteps t, int64[N]: (x of Eq. 13, float32[N, 3, H, W] near [0, 1], the mask head's mask).

    noise: standard normal, shape of image; alpha_bar: float[T] of the schedule.
    """
    level = alpha_bar.to(image.device)[t].view(-1, 1, 1, 1)
    x_t = add_noise(2.0 * state.clean - 1.0, noise, level)
    predicted, mask = denoise(2.0 * image - 1.0, state.mask, x_t, t.to(image.dtype))
    z = (x_t - (1.0 - level).sqrt().to(x_t) * predicted.to(x_t)) / level.sqrt().to(x_t)
    a, b = blend_coefficients(image, illumination(image, state.clean), rho)
    return (a + b * z + 1.0) / 2.0, mask.to(x_t)


def timesteps(count: int, latest: int, generator: torch.Generator) -> Tensor:
    """int64[count] in [1, latest], on the generator's device: t with probability log((t + 1) / t) / log(latest + 1)."""
    place = torch.rand(count, generator=generator, device=generator.device)
    return torch.exp(place * math.log(latest + 1)).long().clamp(1, latest)


def from_prior_loss(
    denoise: Denoise,
    prior: DegradationPrior,
    batch: Sample,
    alpha_bar: Tensor,
    config: FromPriorConfig,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Loss and its parts: mean log of each photo's mean squared error, and the mask head's usual loss.

    error: log of the mean squared error of x, against the clean photo in [0, 1]; gain: the same as gain over the
    prior's x_hat in dB. generator: source of the timesteps and of the noise, in this order.
    """
    image, clean = batch["image"], batch["clean"]
    state = begin(prior, image, batch["mask"])
    t = timesteps(len(image), config.latest, generator).to(image.device)
    noise = torch.randn(image.shape, generator=generator, device=generator.device, dtype=image.dtype).to(image.device)
    x, mask = restored(denoise, image, state, t, noise, alpha_bar, config.rho)
    error = _log_error(x, clean)
    mask_loss = (mask - residual_mask(image, clean)).abs().mean()
    gain = 10 / math.log(10) * (_log_error(state.clean, clean) - error.detach()).mean()
    total = error.mean() + MASK_WEIGHT / 3.0 * mask_loss
    return {"loss": total, "error": error.detach().mean(), "gain": gain, "mask": mask_loss.detach()}


def _log_error(x: Tensor, clean: Tensor) -> Tensor:
    return torch.log((x - clean).square().mean((1, 2, 3)) + FLOOR)


def score_from_prior(
    denoiser: nn.Module,
    prior: DegradationPrior,
    batches: Iterable[Sample],
    alpha_bar: Tensor,
    config: FromPriorConfig,
) -> dict[str, float]:
    """Mean gain of one step over the prior alone (dB): `masked` with the true mask and `blind`, at t = 1; `*_latest` at
    the latest timestep. PSNR above 50 dB counts as 50. `mask`: mean error of the mask head's mask.
    """
    times = {"": 1, "_latest": config.latest}
    names = [f"{key}{at}" for at in times for key in ("masked", "blind")]
    values: dict[str, list[float]] = {name: [] for name in [*names, "mask"]}
    generator = torch.Generator().manual_seed(0)
    for batch in batches:
        image, clean = batch["image"], batch["clean"]
        noise = torch.randn(image.shape, generator=generator).to(image.device)
        true_mask = (batch["matte"] > 0.5).to(image.dtype)
        for key, given in (("masked", true_mask), ("blind", torch.full_like(true_mask, UNKNOWN_MASK))):
            state = begin(prior, image, given)
            before = psnr(state.clean, clean).clamp(max=50.0)
            for at, time in times.items():
                t = torch.full((len(image),), time, device=image.device)
                x, mask = restored(denoiser, image, state, t, noise, alpha_bar, config.rho)
                values[key + at] += (psnr(x.clamp(0, 1), clean).clamp(max=50.0) - before).tolist()
            values["mask"] += (mask - residual_mask(image, clean)).abs().mean((1, 2, 3)).tolist()
    mean = {key: sum(v) / len(v) for key, v in values.items()}
    return {**mean, "score": mean["masked"] + mean["blind"]}
