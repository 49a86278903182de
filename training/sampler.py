"""Reference sampler: DDIM with the degradation prior in every step, in plain PyTorch.

ShadowDiffusion (CVPR 2023), Eqs. 13 and 14, inside DDIM (Song et al. 2021). This is the truth that every
other backend is compared with: no random generator, no hidden precision; it runs in the dtype of the photo.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from shadowdiffusion.training.diffusion import Denoise, add_noise
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.prior_update import blend_coefficients, mask_update, rho_schedule
from shadowdiffusion.training.schedule import DiffusionConfig, alpha_bars

MaskPolicy = Literal["input", "predicted", "late", "closed-form"]
RhoSchedule = Literal["constant", "geometric", "linear"]

LATE = 0.2
"""Policy "late" shows a predicted mask only to the evaluations at t < LATE * T."""


@dataclass(frozen=True)
class SamplerOptions:
    """How to sample. The defaults are what the released code runs; everything else is an explicit choice.

    steps: network evaluations. eta: 0 = deterministic DDIM, 1 = ancestral noise.
    rho, rho_schedule, rho_gamma: weight of the diffusion's estimate against the prior, see `rho_schedule`.
    mask_policy: which mask the next evaluation sees: "input" the given one; "predicted" the mask head's;
        "late" the mask head's from t < 0.2 T on, the given one before; "closed-form" `mask_update` of both.
    data_consistency: False leaves out Eq. 13, which makes it a plain conditional diffusion.
    clamp: limit the clean estimate z to [-1, 1] before Eq. 13 (the predicted noise stays as it is).
    start: None starts from pure noise; t0 from the prior's clean image noised to t0.

    Raises TrainingError for values out of range.
    """

    steps: int = 5
    eta: float = 0.0
    rho: float = 0.2
    rho_schedule: RhoSchedule = "constant"
    rho_gamma: float = 1.0
    mask_policy: MaskPolicy = "input"
    data_consistency: bool = True
    clamp: bool = False
    start: int | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise TrainingError(f"steps must be at least 1, not {self.steps}")
        if not 0.0 <= self.eta <= 1.0:
            raise TrainingError(f"eta must lie in [0, 1], not {self.eta}")
        if self.mask_policy not in get_args(MaskPolicy):
            policies = ", ".join(get_args(MaskPolicy))
            raise TrainingError(f"mask policy {self.mask_policy!r} is unknown: use one of {policies}")
        if self.start is not None and self.start < self.steps:
            raise TrainingError(f"start {self.start} leaves no room for {self.steps} steps: use at least {self.steps}")
        rhos = rho_schedule(self.rho, self.rho_schedule, self.rho_gamma, self.steps)
        if self.mask_policy == "closed-form" and min(rhos) <= 0.0:
            raise TrainingError(f"closed-form masks need rho > 0 at every step, not {min(rhos)}")


class Step(NamedTuple):
    """Everything a step needs to know about the schedule, float64 values."""

    t: int
    alpha_bar: float
    alpha_bar_next: float  # 1 at the last step
    sigma: float  # weight of the fresh noise; 0 for eta = 0 and at the last step
    rho: float


class SamplerResult(NamedTuple):
    """x: restored photo, float[N, 3, H, W] in [-1, 1] up to the network's overshoot.

    mask: float[N, 1, H, W] in [0, 1], the last refined mask (`mask_update` of the last step for
    "closed-form", else the mask head's last output).
    """

    x: Tensor
    mask: Tensor


def timesteps(options: SamplerOptions, total: int) -> list[int]:
    """Timesteps of the evaluations, descending, exactly `options.steps` of them.

    From noise: the paper's {0, s, .., (S-1) s}, s = total // S (S = 5 of 1000: 800, 600, 400, 200, 0).
    From the prior at t0: t0 k // S for k = S .. 1, the "trailing" spacing, whose first evaluation is at t0
    itself. Raises TrainingError if they do not fit below `total`.
    """
    if options.start is not None:
        if options.start >= total:
            raise TrainingError(f"start {options.start} must be below the {total} timesteps of the diffusion")
        return [options.start * k // options.steps for k in range(options.steps, 0, -1)]
    if options.steps > total:
        raise TrainingError(f"{options.steps} steps do not fit in the {total} timesteps of the diffusion")
    spacing = total // options.steps
    return [spacing * k for k in range(options.steps - 1, -1, -1)]


def step_table(options: SamplerOptions, diffusion: DiffusionConfig) -> list[Step]:
    """The steps in running order, computed in float64."""
    times = timesteps(options, diffusion.timesteps)
    table = alpha_bars(diffusion)
    levels = [float(table[t]) for t in times] + [1.0]
    rhos = rho_schedule(options.rho, options.rho_schedule, options.rho_gamma, options.steps)
    steps = []
    for t, level, following, rho in zip(times, levels[:-1], levels[1:], rhos, strict=True):
        # DDIM (Song et al. 2021), Eq. 16.
        sigma = options.eta * math.sqrt((1.0 - following) / (1.0 - level) * (1.0 - level / following))
        steps.append(Step(t, level, following, sigma, rho))
    return steps


@torch.no_grad()
def sample(
    denoise: Denoise,
    y01: Tensor,
    mask: Tensor,
    h: Tensor | None,
    clean: Tensor | None,
    noise: Callable[[int], Tensor],
    options: SamplerOptions,
    diffusion: DiffusionConfig,
) -> SamplerResult:
    """Restore y01: float[N, 3, H, W] in [0, 1], with mask float[N, 1, H, W] in [0, 1].

    h: illumination map float[N, 3, H, W]; None only without data consistency and closed-form masks.
    clean: the prior's estimate float[N, 3, H, W] in [0, 1]; None only without `options.start`.
    noise(i): standard normal float[N, 3, H, W]; i = 0 is the initial state, i + 1 the fresh noise of step
    i, asked for only where sigma > 0. Raises TrainingError if h or clean is needed and missing.
    """
    steps = step_table(options, diffusion)
    y = 2.0 * y01 - 1.0
    x = noise(0).to(y01)
    if options.start is not None:
        if clean is None:
            raise TrainingError("starting from the prior needs its clean image: none was given")
        level = torch.tensor(steps[0].alpha_bar, dtype=torch.float64)
        x = add_noise(2.0 * clean - 1.0, x, level)
    if h is None and (options.data_consistency or options.mask_policy == "closed-form"):
        raise TrainingError("data consistency and closed-form masks need the illumination map: none was given")

    refined = mask
    blend: tuple[Tensor, Tensor] | None = None
    for index, step in enumerate(steps):
        late = options.mask_policy == "late" and step.t < LATE * diffusion.timesteps
        seen = refined if late or options.mask_policy in ("predicted", "closed-form") else mask
        t = torch.full((len(y01),), float(step.t), dtype=y01.dtype, device=y01.device)
        predicted, refined = denoise(y, seen, x, t)

        z = (x - math.sqrt(1.0 - step.alpha_bar) * predicted) / math.sqrt(step.alpha_bar)
        if options.clamp:
            z = z.clamp(-1.0, 1.0)
        if h is not None and options.data_consistency:
            if blend is None or step.rho != steps[index - 1].rho:
                blend = blend_coefficients(y01, h, step.rho)
            z = blend[0] + blend[1] * z
        if h is not None and options.mask_policy == "closed-form":
            refined = mask_update(h, refined, mask, step.rho)

        x = z
        if index + 1 < len(steps):
            direction = math.sqrt(max(0.0, 1.0 - step.alpha_bar_next - step.sigma**2))
            x = math.sqrt(step.alpha_bar_next) * z + direction * predicted
        if step.sigma > 0.0:
            x = x + step.sigma * noise(index + 1).to(y01)
    return SamplerResult(x, refined)
