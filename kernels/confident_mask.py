"""The shadow when nobody has drawn it: where the degradation prior is sure of one.

    m = 1 where matte >= threshold, else 0

A matte or threshold that is not a number counts as not sure, as in every other backend. The threshold lies in
device memory.
"""

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from kernels.arguments import NETWORK_TYPES, dense, pixel_stride, refuse, sized, strided
from kernels.variant import Variant

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 1024


def reference(matte: "Tensor", threshold: "Tensor") -> "Tensor":
    """The mask in plain PyTorch, float32[N, 1, H, W]."""
    return (matte.float() >= threshold).float()


@triton.jit
def confident_mask_kernel(mask, matte, threshold, plane, matte_image, matte_pixel, BLOCK: tl.constexpr):
    """One program: BLOCK pixels of one image."""
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < plane
    source = matte + image * matte_image + pixel.to(tl.int64) * matte_pixel
    value = tl.load(source, mask=inside, other=0.0).to(tl.float32)
    sure = value >= tl.load(threshold)
    tl.store(mask + image * plane + pixel, sure.to(tl.float32), mask=inside)


def confident_mask(mask: "Tensor", matte: "Tensor", threshold: "Tensor") -> "Tensor":
    """Fill mask: float32[N, 1, H, W] of 0 and 1, and return it.

    matte: [N, 1, H, W] in [0, 1], float32, float16 or bfloat16, any layout or slice; threshold: float32[1].
    Raises KernelError for tensors that `unsupported` names.
    """
    refuse(unsupported(mask, matte, threshold))
    images, _, height, width = matte.shape
    confident_mask_kernel[(triton.cdiv(height * width, BLOCK), images)](
        mask,
        matte,
        threshold,
        height * width,
        matte.stride(0),
        pixel_stride(matte),
        BLOCK=BLOCK,
        num_warps=4,
        enable_fp_fusion=False,
    )
    return mask


def unsupported(mask: "Tensor", matte: "Tensor", threshold: "Tensor") -> str | None:
    """Why the kernel cannot run on these, or None."""
    if problem := sized("matte", matte, 1):
        return problem
    shape = (len(matte), 1, matte.shape[2], matte.shape[3])
    return (
        strided("matte", matte, shape, *NETWORK_TYPES, device=matte.device)
        or dense("mask", mask, shape, "float32", device=matte.device)
        or dense("threshold", threshold, (1,), "float32", device=matte.device)
    )


def variants() -> list[Variant]:
    """`confident_mask_<precision>[_any]`.

    precision: fp32, fp16 or bf16, of the matte's planes. any: of any size, the others of a multiple of 16 pixels.
    """
    return [*(_variant(kind) for kind in ("fp32", "fp16", "bf16")), _variant("fp32", aligned=False)]


def _variant(kind: str, *, aligned: bool = True) -> Variant:
    pointers = {"mask": "*fp32", "matte": f"*{kind}", "threshold": "*fp32"}
    return Variant(
        f"confident_mask_{kind}" + "_any" * (not aligned),
        confident_mask_kernel,
        pointers | {"plane": "i32", "matte_image": "i32"},
        {"matte_pixel": 1, "BLOCK": BLOCK},
        frozenset({*pointers, "plane", "matte_image"} if aligned else pointers),
        (f"ceil(plane / {BLOCK})", "images", "1"),
        4,
        32,
        wide=frozenset({"loads", "stores"} if aligned else ()),
    )
