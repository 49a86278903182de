"""The schedule as the GPU kernels read it: a float32 row of eight numbers per denoiser evaluation.

    0  sqrt(1 - alpha_bar)       1  1 / sqrt(alpha_bar)
    2  sqrt(alpha_bar_next)      3  sqrt(1 - alpha_bar_next - sigma^2)
    4  sigma                     5  rho
    6  limit of |z|, or infinity  7  1 if the next evaluation sees the refined mask, 0 if the photo's own

Coefficients follow DDIM (Song et al. 2021, Eq. 12) and are computed in float64. `kernels/step_table.py` is the same.
"""

from collections.abc import Sequence
from math import inf, sqrt

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.bundle.folder import Sampling, Step
from shadowdiffusion.runtime.loop.sampler import reads_refined

Array = npt.NDArray[np.float32]


def step_table(sampling: Sampling, table: Sequence[Step]) -> Array:
    """float32 [S, 8] in running order."""
    rows = []
    for step, following in zip(table, [*table[1:], None], strict=True):
        rows.append(
            (
                sqrt(1 - step.alpha_bar),
                1 / sqrt(step.alpha_bar),
                sqrt(step.alpha_bar_next),
                sqrt(max(0.0, 1 - step.alpha_bar_next - step.sigma**2)),
                step.sigma,
                step.rho,
                1.0 if sampling.clamp else inf,
                float(following is not None and reads_refined(sampling, following)),
            )
        )
    return np.array(rows, np.float32)
