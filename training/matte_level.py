"""From which matte on is it shadow? The photo itself tells: a shadow takes away the same light all along its border.

Of a photo without a drawn mask the network returns a matte that is sometimes sure and sometimes not, so one threshold
does not fit all. A level set of the matte is a shadow's outline if across it light falls by the same factor everywhere
and in the same colour; across the outline of a dark surface, or through the middle of a shadow, it does not
(cf. Finlayson et al., "On the Removal of Shadows from Images", PAMI 2006: a surface's edge changes hue otherwise than a
shadow's). The level whose border is the most consistent is moved to the threshold; if none is consistent, there is no
shadow.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = tuple(-0.8 + 0.4 * i for i in range(11))  # logits of the matte: 0.31 to 0.96
CELL = 4  # pixels of a cell's side: light is compared at this resolution
SIGMA, RADIUS = 1.5, 4  # of the Gaussian window, in cells
SOFT = 0.1  # logits over which a level goes from outside to inside: nothing here jumps, so that all backends agree
BOTH_SIDES = (0.25, 0.35)  # share of a window on the lesser side of the border, from which it counts, and in full
ENOUGH = 20.0  # cells of border; less of it proves less
DARK = 0.01  # linear light added before logarithms: sensor noise counts less
LEAST_STEP = 0.05  # of log light: what is fainter counts as inconsistent
FAINT = 0.25  # of the median step, below which a place of the border shows no shadow
NO_STEP = 2.0  # weight of such places
ACCEPTED = 1.4  # inconsistency from which on there is no shadow
TEMPERATURE = 0.03  # of the choice: where two levels tie, a rounding error must not decide between them
NOWHERE = 14.0  # level in logits that no matte reaches
SURELY_LIT = -5.0  # logits returned at least: backends compute the sigmoid of less with large relative errors
TOLERANCE = 0.15  # log light: places further than this from the typical ratio count half or less in it
ROUNDS = 4  # of reweighting
LARGEST = 1.0  # deviation that a place can show, in parts of the typical ratio


def at_level(linear: Tensor, matte: Tensor, threshold: float) -> Tensor:
    """The matte's logits, shifted so that the outline of the shadow lies at `threshold`: float[N, 1, H, W].

    Args:
        linear: the photo in linear light, float[N, 3, H, W] in [0, 1], H and W multiples of 4.
        matte: logits, float[N, 1, H, W].
        threshold: a matte between 0 and 1.
    """
    wrong = inconsistency(linear, matte)
    # "no shadow at all" is one of the candidates
    candidates = torch.cat([wrong, torch.full_like(wrong[:, :1], ACCEPTED)], dim=1)
    levels = torch.tensor([*LEVELS, NOWHERE], dtype=wrong.dtype, device=wrong.device)
    level = (torch.softmax(-candidates / TEMPERATURE, dim=1) * levels).sum(1)
    shift = math.log(threshold / (1 - threshold)) - level[:, None, None, None]
    return (matte.clamp(max=NOWHERE - 2) + shift).clamp(min=SURELY_LIT)


def inconsistency(linear: Tensor, matte: Tensor) -> Tensor:
    """How little the border of every level set looks like a shadow's, float[N, len(LEVELS)], 0 = perfect.

    The sum of three means over the border: deviation of the light's log ratio from the typical one, relative to it; the
    same of its colour (red and blue over green); and twice the share of places where light hardly falls.
    """
    light, matte = torch.log(F.avg_pool2d(linear, 2) + DARK), F.avg_pool2d(matte, 2)
    thresholds = torch.tensor(LEVELS, dtype=matte.dtype, device=matte.device).view(1, -1, 1, 1)
    inside = ((matte - thresholds) / SOFT + 0.5).clamp(0, 1)
    everything = torch.cat([torch.ones_like(inside[:, :1]), light], dim=1)
    total = _window(everything)[:, :, None]  # [N, 1 + 3, 1, h, w]
    within = _window((everything[:, :, None] * inside[:, None]).flatten(1, 2)).unflatten(1, (4, len(LEVELS)))
    without = total - within
    least, full = BOTH_SIDES
    weight = ((torch.minimum(within[:, 0], without[:, 0]) - least) / (full - least)).clamp(0, 1)
    step = without[:, 1:] / without[:, :1].clamp(min=1e-3) - within[:, 1:] / within[:, :1].clamp(min=1e-3)
    weight, step = weight.flatten(2)[:, None], step.flatten(3)  # [N, 1 or 3, K, cells]
    colour = step[:, ::2] - step[:, 1:2]
    typical = _typical(step, weight)
    strength = typical.mean(1, keepdim=True).clamp(min=LEAST_STEP)  # [N, 1, K, 1]
    spread = ((step - typical) / strength).abs().clamp(max=LARGEST)
    tinge = ((colour - _typical(colour, weight)) / strength).abs().clamp(max=LARGEST)
    no_step = ((FAINT - step.mean(1, keepdim=True) / strength) / FAINT + 0.5).clamp(0, 1)
    wrong = (spread.mean(1) + tinge.mean(1) + NO_STEP * no_step[:, 0]).unsqueeze(1)
    length = weight.sum((1, 3))
    return _mean(wrong, weight)[:, 0, :, 0] + 2 * ACCEPTED * (1 - length / ENOUGH).clamp(min=0)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True).clamp(min=1e-3)


def _typical(values: Tensor, weight: Tensor) -> Tensor:
    """Reweighted mean of the last axis, [..., 1], that lone values do not move (Cauchy's weights)."""
    typical = _mean(values, weight)
    for _ in range(ROUNDS):
        typical = _mean(values, weight / (1 + ((values - typical) / TOLERANCE).square()))
    return typical


def _window(planes: Tensor) -> Tensor:
    """Gaussian means over cells of planes at half resolution; zeros beyond the image, which the ones share."""
    cells = F.avg_pool2d(planes, CELL // 2)
    taps = torch.exp(-0.5 * (torch.arange(-RADIUS, RADIUS + 1, device=planes.device) / SIGMA).square())
    kernel = (taps / taps.sum()).to(planes.dtype).expand(planes.shape[1], 1, 1, -1)
    cells = F.conv2d(cells, kernel, padding=(0, RADIUS), groups=planes.shape[1])
    return F.conv2d(cells, kernel.transpose(2, 3), padding=(RADIUS, 0), groups=planes.shape[1])
