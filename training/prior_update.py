"""Closed-form updates of one unrolled step: the clean image (Eq. 13) and the mask (Eq. 14).

ShadowDiffusion (CVPR 2023) couples the diffusion's estimate z with the degradation model y = h x by
minimising

    1/2 |y - h x|^2 + rho/2 |x - z|^2     over x:     x = (h y + rho z) / (h^2 + rho)             (Eq. 13)

The weights of y/h and z add up to one, so the same formula holds in [0, 1] and in [-1, 1]. rho > 0 keeps the
denominator away from zero however dark h is, unlike the literal form with rho / h^2.
"""

from __future__ import annotations

import math
import operator
from itertools import accumulate, repeat

from torch import Tensor

from shadowdiffusion.training.errors import TrainingError

RHO_SCHEDULES = ("constant", "geometric", "linear")
CONFIDENT = 0.9  # mask value from which a pixel counts as surely degraded


def blend_coefficients(y01: Tensor, h: Tensor, rho: float) -> tuple[Tensor, Tensor]:
    """(A, B) such that Eq. 13 reads x = A + B z for x, z in [-1, 1].

    A = (2 h y - h^2) / (h^2 + rho), B = rho / (h^2 + rho), with y in [0, 1].

    y01: float[N, 3, H, W] in [0, 1]; h: float[N, 3, H, W] > 0. They depend on the photo and rho only, so a
    sampler computes them once per rho. Raises TrainingError for a negative or non-finite rho.
    """
    if not math.isfinite(rho) or rho < 0.0:
        raise TrainingError(f"rho must be a finite number >= 0, not {rho}")
    square = h * h
    denominator = square + rho
    return (2.0 * h * y01 - square) / denominator, rho / denominator


def mask_update(h: Tensor, v: Tensor, mask: Tensor, rho: float) -> Tensor:
    """Mask between what the illumination map says and what the mask head says, float[N, 1, H, W] in [0, 1].

    The paper does not spell out Eq. 14. This minimises 1/2 sum_c ((1 - h_c) - (1 - w_c) m)^2 + rho/2 (m -
    v)^2 over m in [0, 1], the degradation model h = 1 - (1 - w) m with one illumination weight w_c per
    photo and channel: the mean of h_c where the photo's mask is at least 0.9 (w = 1, hence m = v, if
    nowhere).

    h: float[N, 3, H, W]; v: the mask head's output, float[N, 1, H, W]; mask: the photo's own mask, same
    shape. Raises TrainingError unless rho > 0, which the minimum needs where w = 1.
    """
    if not math.isfinite(rho) or rho <= 0.0:
        raise TrainingError(f"the mask update needs a finite rho > 0, not {rho}")
    sure = (mask >= CONFIDENT).to(h.dtype)
    area = sure.sum(dim=(2, 3), keepdim=True)
    depth = ((1.0 - h) * sure).sum(dim=(2, 3), keepdim=True) / area.clamp(min=1.0)  # 1 - w: [N, 3, 1, 1]
    numerator = (depth * (1.0 - h)).sum(dim=1, keepdim=True) + rho * v
    denominator = (depth * depth).sum(dim=1, keepdim=True) + rho
    # One pixel, one parabola: clamping its vertex is the exact minimum over [0, 1].
    return (numerator / denominator).clamp(0.0, 1.0)


def rho_schedule(rho: float, kind: str, gamma: float, steps: int) -> list[float]:
    """rho of every step in running order (first = noisiest), `steps` values.

    kind: "constant" (gamma unused); "geometric", rho gamma^i as in the paper's supplement, where gamma > 1;
    "linear", rho + gamma i as the released code writes it (it never advances i, so it runs constant).
    Raises TrainingError for an unknown kind or values that are negative or not finite.
    """
    if kind == "constant":
        values = [rho] * steps
    elif kind == "geometric":
        # Repeated products, unlike powers, overflow to infinity, which is refused below.
        values = list(accumulate(repeat(gamma, steps - 1), operator.mul, initial=rho))
    elif kind == "linear":
        values = [rho + gamma * i for i in range(steps)]
    else:
        raise TrainingError(f"rho schedule {kind!r} is unknown: use one of {', '.join(RHO_SCHEDULES)}")
    wrong = [value for value in values if not math.isfinite(value) or value < 0.0]
    if wrong:
        raise TrainingError(f"the {kind} rho schedule from {rho} by {gamma} reaches {wrong[0]}: it must stay >= 0")
    return values
