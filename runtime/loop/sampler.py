"""The whole diffusion as one pure function: DDIM (Song et al. 2021) with the data-consistent update of
each estimate.

ShadowDiffusion (CVPR 2023), Algorithm and Eqs 13-14. Everything a step needs beyond the network is read
from the bundle's tables; the noise is given, so equal inputs give equal outputs.
"""

from collections.abc import Callable, Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.bundle.folder import Sampling, Step
from shadowdiffusion.runtime.loop.prior_update import blend_coefficients, closed_form_mask

Array = npt.NDArray[np.float32]

Denoise = Callable[[Array, Array, Array, Step, bool], tuple[Array, Array | None]]
"""As `runtime.loop.networks.Networks.denoise`."""

LATE = 0.2  # policy "late" shows predicted masks only to evaluations at t below this fraction of T


class Sampled(NamedTuple):
    """The restored image float32 [N, 3, H, W], about [-1, 1], and the last refined mask [N, 1, H, W] in
    [0, 1], None unless asked for.
    """

    x: Array
    mask: Array | None


def sample(
    denoise: Denoise,
    y: Array,
    mask: Array,
    h: Array,
    clean: Array,
    noise: Callable[[int], Array],
    sampling: Sampling,
    table: Sequence[Step],
    progress: Callable[[int, int], None] | None = None,
    with_mask: bool = True,
) -> Sampled:
    """Restore y float32 [N, 3, H, W] in [0, 1] given its mask, illumination h and the prior's clean image
    in [0, 1].

    `noise(0)` is the initial state and `noise(i + 1)` the fresh noise of step i, both [N, 3, H, W].
    Both callables give up the arrays they return, which are overwritten; the inputs are left alone.
    `progress(done, total)` is called after each step. The mask head runs only where the mask policy or
    `with_mask` reads what it finds.
    """
    signed = 2 * y - 1
    x = noise(0)
    if sampling.start_alpha_bar is not None:
        x = sqrt(1 - sampling.start_alpha_bar) * x + sqrt(sampling.start_alpha_bar) * (2 * clean - 1)
    rho = None
    refined = mask
    for index, step in enumerate(table):
        seen = refined if reads_refined(sampling, step) else mask
        following = table[index + 1] if index + 1 < len(table) else None
        wanted = with_mask if following is None else reads_refined(sampling, following)
        epsilon, found = denoise(signed, seen, x, step, wanted)

        # the estimate of the clean image, then its data-consistent version, both in the memory of x
        spread = 1 - step.alpha_bar
        epsilon *= sqrt(spread)
        x -= epsilon
        x /= sqrt(step.alpha_bar)
        if sampling.clamp:
            np.clip(x, -1, 1, out=x)
        if sampling.data_consistency:
            if step.rho != rho:
                rho = step.rho
                a, b = blend_coefficients(y, h, rho)
            x *= b
            x += a

        if found is not None:
            closed = sampling.mask_policy == "closed-form"
            refined = closed_form_mask(h, found, mask, step.rho) if closed else found

        if index + 1 < len(table):  # the last estimate is the result
            x *= sqrt(step.alpha_bar_next)
            epsilon *= sqrt(max(0.0, 1 - step.alpha_bar_next - step.sigma**2) / spread)
            x += epsilon
            if step.sigma > 0:
                fresh = noise(index + 1)
                fresh *= step.sigma
                x += fresh
        if progress is not None:
            progress(index + 1, len(table))
    return Sampled(x, refined if with_mask else None)


def reads_refined(sampling: Sampling, step: Step) -> bool:
    """Whether the denoiser sees the refined mask at this step instead of the first one."""
    late = sampling.mask_policy == "late" and step.t < LATE * sampling.T
    return late or sampling.mask_policy in ("predicted", "closed-form")
