"""The schedule as the kernels read it: a table float32[steps, 8] in device memory, one row per denoiser evaluation.

Kernels take the table and a pointer to the row's number, so one captured CUDA graph serves every step: only
the number changes. Coefficients follow DDIM (Song et al. 2021, Eq. 12) and are computed in float64.

    0  sqrt(1 - alpha_bar)       1  1 / sqrt(alpha_bar)
    2  sqrt(alpha_bar_next)      3  sqrt(1 - alpha_bar_next - sigma^2)
    4  sigma                     5  rho
    6  limit of |z|, or infinity  7  1 if the next evaluation sees the refined mask, 0 if the photo's own
"""

from collections.abc import Sequence
from math import inf, sqrt
from typing import TYPE_CHECKING, Literal, Protocol

from shadowdiffusion.kernels.errors import KernelError

if TYPE_CHECKING:
    from torch import Tensor, device

COLUMNS = 8
LATE = 0.2
"""Policy "late" shows refined masks only to evaluations at t below this fraction of T."""

MaskPolicy = Literal["input", "predicted", "late", "closed-form"]


class Step(Protocol):
    """One evaluation, as the reference sampler and the bundle describe it."""

    @property
    def t(self) -> int: ...  # noqa: D102
    @property
    def alpha_bar(self) -> float: ...  # noqa: D102
    @property
    def alpha_bar_next(self) -> float: ...  # noqa: D102
    @property
    def sigma(self) -> float: ...  # noqa: D102
    @property
    def rho(self) -> float: ...  # noqa: D102


def step_rows(steps: Sequence[Step], policy: MaskPolicy, total: int, *, clamp: bool = False) -> list[tuple[float, ...]]:
    """One row of COLUMNS numbers per step, in running order; `total` is T, the diffusion's timesteps.

    clamp: limit every clean estimate z to [-1, 1]. Raises KernelError for no steps, or a rho of 0 where
    closed-form masks need it positive.
    """
    if not steps:
        raise KernelError("a schedule needs at least one step")
    if policy == "closed-form" and min(step.rho for step in steps) <= 0:
        raise KernelError("closed-form masks need rho > 0 at every step: choose another mask policy or rho")
    rows: list[tuple[float, ...]] = []
    for index, step in enumerate(steps):
        following = steps[index + 1] if index + 1 < len(steps) else None
        late = policy == "late" and following is not None and following.t < LATE * total
        feeds_back = policy in ("predicted", "closed-form") or late
        rows.append(
            (
                sqrt(1 - step.alpha_bar),
                1 / sqrt(step.alpha_bar),
                sqrt(step.alpha_bar_next),
                sqrt(max(0.0, 1 - step.alpha_bar_next - step.sigma**2)),
                step.sigma,
                step.rho,
                1.0 if clamp else inf,
                float(feeds_back),
            )
        )
    return rows


def step_table(
    steps: Sequence[Step], policy: MaskPolicy, total: int, *, clamp: bool = False, on: "device | str" = "cpu"
) -> "Tensor":
    """`step_rows` as float32[steps, 8] on a device."""
    import torch

    return torch.tensor(step_rows(steps, policy, total, clamp=clamp), dtype=torch.float32, device=on)
