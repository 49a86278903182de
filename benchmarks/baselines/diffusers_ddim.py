"""The same networks in the clean loop, with the steps by diffusers' DDIMScheduler.

The scheduler knows nothing of the degradation model: its next state is moved by what data consistency changes about
the clean estimate, which is exact since that state is linear in it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from shadowdiffusion.benchmarks.baselines import eager
from shadowdiffusion.benchmarks.baselines.setting import Contestant, Restore, Setting, Unavailable
from shadowdiffusion.runtime.packages import missing_package
from shadowdiffusion.training.degradation import illumination
from shadowdiffusion.training.prior_update import blend_coefficients


def prepare(setting: Setting) -> Restore:
    """Raises Unavailable where diffusers is not installed, or knows no such steps."""
    try:
        from diffusers import DDIMScheduler
    except ImportError as error:
        raise Unavailable(missing_package(error, "benchmark")) from error
    setting.require_released_sampling()
    diffusion = setting.subject.model.diffusion
    scheduler = DDIMScheduler(
        num_train_timesteps=diffusion.timesteps,
        beta_start=diffusion.beta_start,
        beta_end=diffusion.beta_end,
        beta_schedule="linear",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=0,
        prediction_type="epsilon",
        timestep_spacing="leading",
    )
    scheduler.set_timesteps(setting.steps)
    if scheduler.timesteps.tolist() != [step.t for step in setting.table]:
        raise Unavailable(f"DDIMScheduler spaces {setting.steps} steps otherwise: {scheduler.timesteps.tolist()}")
    device, denoise, clean = setting.device, *eager.networks(setting)
    images, masks, noise = (torch.from_numpy(array) for array in (setting.images, setting.masks, setting.noise))
    # alpha bar of the next step, as the scheduler has it
    levels = [float(scheduler.alphas_cumprod[step.t]) for step in setting.table[1:]]
    levels.append(float(scheduler.final_alpha_cumprod))

    @torch.no_grad()
    def restore() -> Tensor:
        y, mask, x = (part.to(device) for part in (images, masks, noise))
        h = illumination(y, clean(y, mask), setting.subject.model.illumination)
        signed, rho = 2 * y - 1, None
        for step, level in zip(setting.table, levels, strict=True):
            if step.rho != rho:
                rho = step.rho
                a, b = blend_coefficients(y, h, rho)
            predicted = denoise(signed, mask, x, torch.full((len(y),), float(step.t), device=device))
            moved = scheduler.step(predicted, step.t, x, eta=0.0)
            z = moved.pred_original_sample
            x = moved.prev_sample + level**0.5 * (a + b * z - z)
        return ((x + 1) / 2).clamp(0, 1).cpu()

    return lambda: restore().contiguous().numpy()


DIFFUSERS = Contestant("diffusers", "the clean PyTorch loop with the steps by diffusers' DDIMScheduler", prepare)
