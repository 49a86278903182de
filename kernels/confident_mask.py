"""The shadow when nobody has drawn it: where the degradation prior is sure of one.

    m = 1 where matte >= threshold, else 0

A matte or threshold that is not a number counts as not sure, as in every other backend. The threshold lies in
device memory.
"""

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from shadowdiffusion.kernels.arguments import dense, refuse, sized
from shadowdiffusion.kernels.variant import Variant

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 1024


def reference(matte: "Tensor", threshold: "Tensor") -> "Tensor":
    """The mask in plain PyTorch, float32[N, 1, H, W]."""
    return (matte >= threshold).float()


@triton.jit
def confident_mask_kernel(mask, matte, threshold, plane, BLOCK: tl.constexpr):
    """One program: BLOCK pixels of one image."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < plane
    place = tl.program_id(1).to(tl.int64) * plane + pixel
    sure = tl.load(matte + place, mask=inside, other=0.0) >= tl.load(threshold)
    tl.store(mask + place, sure.to(tl.float32), mask=inside)


def confident_mask(mask: "Tensor", matte: "Tensor", threshold: "Tensor") -> "Tensor":
    """Fill mask: float32[N, 1, H, W] of 0 and 1, and return it.

    matte: float32[N, 1, H, W] in [0, 1]; threshold: float32[1]. All are contiguous. Raises KernelError for tensors
    that `unsupported` names.
    """
    refuse(unsupported(mask, matte, threshold))
    images, _, height, width = matte.shape
    confident_mask_kernel[(triton.cdiv(height * width, BLOCK), images)](
        mask, matte, threshold, height * width, BLOCK=BLOCK, num_warps=4, enable_fp_fusion=False
    )
    return mask


def unsupported(mask: "Tensor", matte: "Tensor", threshold: "Tensor") -> str | None:
    """Why the kernel cannot run on these, or None."""
    if problem := sized("matte", matte, 1):
        return problem
    shape = (len(matte), 1, matte.shape[2], matte.shape[3])
    return (
        dense("matte", matte, shape, "float32", device=matte.device)
        or dense("mask", mask, shape, "float32", device=matte.device)
        or dense("threshold", threshold, (1,), "float32", device=matte.device)
    )


def variants() -> list[Variant]:
    """`confident_mask`, for planes of a multiple of 16 pixels."""
    pointers = dict.fromkeys(("mask", "matte", "threshold"), "*fp32")
    return [
        Variant(
            "confident_mask",
            confident_mask_kernel,
            pointers | {"plane": "i32"},
            {"BLOCK": BLOCK},
            frozenset({*pointers, "plane"}),
            (f"ceil(plane / {BLOCK})", "images", "1"),
            4,
            32,
        )
    ]
