"""A clean PyTorch loop: channels-last, half precision on a GPU, everything constant computed once, no mask head."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from shadowdiffusion.benchmarks.baselines.setting import Contestant, Restore, Setting
from shadowdiffusion.training.degradation import illumination
from shadowdiffusion.training.prior_update import blend_coefficients

Network = Callable[..., Tensor]


def networks(setting: Setting) -> tuple[Network, Network]:
    """(denoise, clean): (y, mask, x_t, t) -> noise and (y, mask) -> the prior's estimate, both float32 outside.

    On a GPU the denoiser's weights are float16 and the prior, which computes powers and logarithms, runs in autocast.
    """
    denoiser, prior = setting.networks()
    for network in (denoiser, prior):
        _to_channels_last(network)
    kind = torch.float16 if setting.device.type == "cuda" else torch.float32
    denoiser = denoiser.to(kind)

    def denoise(y: Tensor, mask: Tensor, x: Tensor, t: Tensor) -> Tensor:
        y, mask, x = (part.to(kind, memory_format=torch.channels_last) for part in (y, mask, x))
        return denoiser.predict_noise(denoiser.features(y, mask, x, t)).float()

    def clean(y: Tensor, mask: Tensor) -> Tensor:
        with torch.autocast(setting.device.type, torch.float16, enabled=kind == torch.float16):
            found: Tensor = prior(y.to(memory_format=torch.channels_last), mask)[0]
        return found.float()

    return denoise, clean


def _to_channels_last(network: Any) -> None:
    network.to(memory_format=torch.channels_last)  # an overload that its type lacks


def loop(setting: Setting, denoise: Network, clean: Network) -> Restore:
    """The loop around networks that may be compiled. Raises Unavailable as `authors.prepare` does."""
    setting.require_released_sampling()
    device = setting.device
    images, masks, noise = (torch.from_numpy(array) for array in (setting.images, setting.masks, setting.noise))
    times = [torch.full((len(images),), float(step.t), device=device) for step in setting.table]
    if device.type == "cuda":
        images, masks, noise = images.pin_memory(), masks.pin_memory(), noise.pin_memory()

    @torch.no_grad()
    def restore() -> Tensor:
        y, mask, x = (part.to(device, non_blocking=True) for part in (images, masks, noise))
        h = illumination(y, clean(y, mask), setting.subject.model.illumination)
        signed, rho = 2 * y - 1, None
        for step, t in zip(setting.table, times, strict=True):
            if step.rho != rho:
                rho = step.rho
                a, b = blend_coefficients(y, h, rho)
            predicted = denoise(signed, mask, x, t)
            z = (x - sqrt(1 - step.alpha_bar) * predicted) / sqrt(step.alpha_bar)
            x = sqrt(step.alpha_bar_next) * (a + b * z) + sqrt(1 - step.alpha_bar_next) * predicted
        return ((x + 1) / 2).clamp(0, 1).cpu()

    return lambda: restore().contiguous().numpy()


def prepare(setting: Setting) -> Restore:
    """Raises Unavailable."""
    return loop(setting, *networks(setting))


EAGER = Contestant("eager", "a clean PyTorch loop: channels-last, float16 on a GPU", prepare)
