"""The authors' loop as published: PyTorch eager, float32, latents to the host after every step, nothing kept.

Written from the description of the released code: every step goes back to the betas for its coefficients, computes
the illumination map and both weights of the data-consistent image (Eq. 13 as it is printed) anew, puts the network's
input together anew, and runs the mask head, whose mask nobody reads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from shadowdiffusion.benchmarks.baselines.setting import Contestant, Restore, Setting
from shadowdiffusion.training.degradation import illumination
from shadowdiffusion.training.schedule import betas


def prepare(setting: Setting) -> Restore:
    """Raises Unavailable for a bundle that samples otherwise than the released code."""
    setting.require_released_sampling()
    denoiser, prior = setting.networks()
    device, schedule = setting.device, betas(setting.subject.model.diffusion).float().to(setting.device)
    images, masks, noise = (torch.from_numpy(array) for array in (setting.images, setting.masks, setting.noise))
    following = [step.t for step in setting.table[1:]] + [-1]

    @torch.no_grad()
    def restore() -> Tensor:
        y, mask = images.to(device), masks.to(device)
        clean, _ = prior(y, mask)
        latents = [noise]
        for step, next_t in zip(setting.table, following, strict=True):
            t = torch.full((len(y),), float(step.t), device=device)
            level, next_level = _alpha_bar(schedule, step.t), _alpha_bar(schedule, next_t)
            x = latents[-1].to(device)
            predicted, _ = denoiser(2 * y - 1, mask, x, t)
            z = (x - (1 - level).sqrt() * predicted) / level.sqrt()
            h = illumination(y, clean, setting.subject.model.illumination)
            consistent = 2 * (h * y + step.rho * (z + 1) / 2) / (h**2 + step.rho) - 1
            latents.append((next_level.sqrt() * consistent + (1 - next_level).sqrt() * predicted).cpu())
        return ((latents[-1] + 1) / 2).clamp(0, 1)

    return lambda: restore().numpy()


def _alpha_bar(schedule: Tensor, t: int) -> Tensor:
    """The product of 1 - beta up to t; 1 for t = -1, behind the last step."""
    from_one = torch.cat([torch.zeros(1, device=schedule.device), schedule])
    return (1 - from_one).cumprod(dim=0)[t + 1]


AUTHORS = Contestant("authors", "the authors' loop as published: PyTorch eager, latents to the host", prepare)
