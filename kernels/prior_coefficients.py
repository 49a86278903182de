"""What the degradation prior contributes to every step: the illumination map and the blend coefficients A and B.

ShadowDiffusion (CVPR 2023), supplement Eq. A and Eq. 13, with y the photo and c the prior's clean image in [0, 1]:

    h = clamp((y + epsilon) / (c + epsilon), floor, ceiling)
    A = (2 h y - h^2) / (h^2 + rho),   B = rho / (h^2 + rho)        x~ = A + B z for x~ and z in [-1, 1]

free of the division by h^2 that overflows for small h. rho is read from `step_table`'s row, so that a captured
CUDA graph can follow a schedule of rho; with a constant rho one launch serves the whole run.
"""

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from shadowdiffusion.kernels.arguments import dense, refuse, sized
from shadowdiffusion.kernels.errors import KernelError
from shadowdiffusion.kernels.step_table import COLUMNS
from shadowdiffusion.kernels.variant import Variant

if TYPE_CHECKING:
    from torch import Tensor, device

BLOCK = 512


def illumination_limits(epsilon: float, floor: float, ceiling: float, on: "device | str" = "cpu") -> "Tensor":
    """float32[3] on a device: epsilon and the range of h. Raises KernelError unless positive and in order."""
    import torch

    if not (epsilon > 0 and 0 < floor < ceiling):
        raise KernelError(f"illumination limits {epsilon}, {floor}, {ceiling} need epsilon > 0 and 0 < floor < ceiling")
    return torch.tensor([epsilon, floor, ceiling], dtype=torch.float32, device=on)


def reference(y: "Tensor", clean: "Tensor", limits: "Tensor", rho: "Tensor") -> tuple["Tensor", "Tensor", "Tensor"]:
    """(h, A, B) in plain PyTorch, in the type of y."""
    epsilon, floor, ceiling = limits.to(y)
    h = ((y + epsilon) / (clean.to(y) + epsilon)).clamp(floor, ceiling)
    denominator = h * h + rho.to(y)
    return h, (2 * h * y - h * h) / denominator, rho.to(y) / denominator


@triton.jit
def prior_coefficients_kernel(
    a,
    b,
    h,
    y,
    clean,
    limits,
    table,
    index,
    plane,
    WRITE_H: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program: BLOCK pixels of one channel of one image."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < plane
    whole = tl.program_id(1).to(tl.int64) * plane + pixel
    epsilon = tl.load(limits)
    rho = tl.load(table + tl.load(index) * 8 + 5)

    light = tl.load(y + whole, mask=inside, other=0.0)
    ratio = tl.div_rn(light + epsilon, tl.load(clean + whole, mask=inside, other=0.0) + epsilon)
    value = tl.clamp(ratio, tl.load(limits + 1), tl.load(limits + 2), propagate_nan=tl.PropagateNan.ALL)
    square = value * value
    scale = tl.div_rn(1.0, square + rho)
    tl.store(a + whole, (2.0 * value * light - square) * scale, mask=inside)
    tl.store(b + whole, rho * scale, mask=inside)
    if WRITE_H:
        tl.store(h + whole, value, mask=inside)


def prior_coefficients(
    a: "Tensor",
    b: "Tensor",
    y: "Tensor",
    clean: "Tensor",
    limits: "Tensor",
    table: "Tensor",
    index: "Tensor",
    h: "Tensor | None" = None,
) -> None:
    """Write A, B and, if wanted, h: float32[N, 3, H, W].

    y, clean: float32[N, 3, H, W] in [0, 1]; limits: float32[3] of `illumination_limits`; table: float32[S, 8] of
    `step_table`; index: int32[1], the row whose rho counts. All are contiguous. Raises KernelError for tensors that
    `unsupported` names.
    """
    refuse(unsupported(a, b, y, clean, limits, table, index, h))
    images, _, height, width = y.shape
    prior_coefficients_kernel[(triton.cdiv(height * width, BLOCK), 3 * images)](
        a,
        b,
        a if h is None else h,
        y,
        clean,
        limits,
        table,
        index,
        height * width,
        WRITE_H=h is not None,
        BLOCK=BLOCK,
        num_warps=4,
        enable_fp_fusion=False,
    )


def unsupported(
    a: "Tensor",
    b: "Tensor",
    y: "Tensor",
    clean: "Tensor",
    limits: "Tensor",
    table: "Tensor",
    index: "Tensor",
    h: "Tensor | None",
) -> str | None:
    """Why the kernel cannot run on these, or None."""
    if problem := sized("y", y, 3, programs=3):
        return problem
    shape = (y.shape[0], 3, y.shape[2], y.shape[3])
    return (
        dense("y", y, shape, "float32", device=y.device)
        or dense("A", a, shape, "float32", device=y.device)
        or dense("B", b, shape, "float32", device=y.device)
        or (None if h is None else dense("h", h, shape, "float32", device=y.device))
        or dense("clean", clean, shape, "float32", device=y.device)
        or dense("limits", limits, (3,), "float32", device=y.device)
        or dense("table", table, (len(table), COLUMNS), "float32", device=y.device)
        or dense("index", index, (1,), "int32", device=y.device)
    )


def variants() -> list[Variant]:
    """`prior_coefficients[_h]`, for planes of a multiple of 16 pixels. h: writes it too."""
    return [_variant(write_h) for write_h in (False, True)]


def _variant(write_h: bool) -> Variant:
    pointers = ("a", "b", "h", "y", "clean", "limits", "table", "index")
    return Variant(
        "prior_coefficients" + "_h" * write_h,
        prior_coefficients_kernel,
        dict.fromkeys(pointers, "*fp32") | {"index": "*i32", "plane": "i32"},
        {"WRITE_H": write_h, "BLOCK": BLOCK},
        frozenset({*pointers, "plane"}),
        (f"ceil(plane / {BLOCK})", "3 * images", "1"),
        4,
        64,
    )
