"""The mask after a step: Eq. 14 in closed form or the mask head's own, and the mask the next evaluation sees.

ShadowDiffusion (CVPR 2023), Eq. 14, read as the minimum over m in [0, 1] of
1/2 sum_c ((1 - h_c) - (1 - w_c) m)^2 + rho/2 (m - v)^2, v being the mask head's output:

    m = clamp((sum_c (1 - w_c) (1 - h_c) + rho v) / (sum_c (1 - w_c)^2 + rho), 0, 1)

w_c is the mean of h_c over confident shadow, where the photo's mask is at least 0.9 (m = v if nowhere). It depends
on the photo only: `confident_depth` reduces it once, to partial sums that are added up in a fixed order, so that
equal inputs give equal bits. Whether the next evaluation sees m or the photo's mask is column 7 of `step_table`.
"""

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from shadowdiffusion.kernels.arguments import dense, refuse, sized
from shadowdiffusion.kernels.step_table import COLUMNS
from shadowdiffusion.kernels.variant import Variant

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 512
PARTS = 128
"""Partial sums per image and quantity: programs of the reduction, enough to fill a GPU at batch 1."""
CONFIDENT = tl.constexpr(0.9)


def reference_depth(h: "Tensor", mask: "Tensor") -> "Tensor":
    """1 - w in plain PyTorch, [N, 3, 1, 1] in the type of h."""
    sure = (mask >= 0.9).to(h)
    return ((1 - h) * sure).sum(dim=(2, 3), keepdim=True) / sure.sum(dim=(2, 3), keepdim=True).clamp(min=1)


def reference(h: "Tensor", v: "Tensor", depth: "Tensor", rho: "Tensor") -> "Tensor":
    """Eq. 14 in plain PyTorch, [N, 1, H, W] in the type of h."""
    numerator = (depth * (1 - h)).sum(dim=1, keepdim=True) + rho.to(h) * v.to(h)
    return (numerator / ((depth * depth).sum(dim=1, keepdim=True) + rho.to(h))).clamp(0, 1)


@triton.jit
def confident_depth_kernel(sums, h, mask, plane, PARTS: tl.constexpr, BLOCK: tl.constexpr):
    """One program: every PARTS-th block of one image, to its four partial sums (1 - h_c over three c, area)."""
    part = tl.program_id(0)
    image = tl.program_id(1).to(tl.int64)
    d0 = tl.zeros((BLOCK,), tl.float32)
    d1 = tl.zeros((BLOCK,), tl.float32)
    d2 = tl.zeros((BLOCK,), tl.float32)
    area = tl.zeros((BLOCK,), tl.float32)
    start = part * BLOCK
    while start < plane:
        pixel = start + tl.arange(0, BLOCK)
        inside = pixel < plane
        sure = tl.load(mask + image * plane + pixel, mask=inside, other=0.0) >= CONFIDENT
        source = h + 3 * image * plane + pixel
        d0 += tl.where(sure, 1.0 - tl.load(source, mask=inside, other=1.0), 0.0)
        d1 += tl.where(sure, 1.0 - tl.load(source + plane, mask=inside, other=1.0), 0.0)
        d2 += tl.where(sure, 1.0 - tl.load(source + 2 * plane, mask=inside, other=1.0), 0.0)
        area += sure.to(tl.float32)
        start += PARTS * BLOCK
    target = sums + image * (4 * PARTS) + part
    tl.store(target, tl.sum(d0))
    tl.store(target + PARTS, tl.sum(d1))
    tl.store(target + 2 * PARTS, tl.sum(d2))
    tl.store(target + 3 * PARTS, tl.sum(area))


@triton.jit
def mask_update_kernel(
    refined,
    seen,
    v,
    h,
    mask,
    sums,
    table,
    index,
    plane,
    CLOSED_FORM: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program: BLOCK pixels of one image."""
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < plane
    row = table + tl.load(index) * 8
    m = tl.load(v + image * plane + pixel, mask=inside, other=0.0)
    if CLOSED_FORM:
        rho = tl.load(row + 5)
        source = sums + image * (4 * PARTS) + tl.arange(0, PARTS)
        area = tl.maximum(tl.sum(tl.load(source + 3 * PARTS)), 1.0)
        d0 = tl.div_rn(tl.sum(tl.load(source)), area)
        d1 = tl.div_rn(tl.sum(tl.load(source + PARTS)), area)
        d2 = tl.div_rn(tl.sum(tl.load(source + 2 * PARTS)), area)
        light = h + 3 * image * plane + pixel
        numerator = d0 * (1.0 - tl.load(light, mask=inside, other=1.0))
        numerator += d1 * (1.0 - tl.load(light + plane, mask=inside, other=1.0))
        numerator += d2 * (1.0 - tl.load(light + 2 * plane, mask=inside, other=1.0))
        m = tl.div_rn(numerator + rho * m, d0 * d0 + d1 * d1 + d2 * d2 + rho)
        m = tl.clamp(m, 0.0, 1.0, propagate_nan=tl.PropagateNan.ALL)
    tl.store(refined + image * plane + pixel, m, mask=inside)
    own = tl.load(mask + image * plane + pixel, mask=inside, other=0.0)
    tl.store(seen + image * plane + pixel, tl.where(tl.load(row + 7) != 0, m, own), mask=inside)


def confident_depth(h: "Tensor", mask: "Tensor") -> "Tensor":
    """Partial sums float32[N, 4, 128] of 1 - h_c and of the area, over pixels whose mask is at least 0.9.

    h: float32[N, 3, H, W]; mask: the photo's own, float32[N, 1, H, W]. Raises KernelError for other tensors.
    """
    refuse(_unsupported_photo(h, mask))
    sums = h.new_empty(len(h), 4, PARTS)
    plane = h.shape[2] * h.shape[3]
    confident_depth_kernel[(PARTS, len(h))](
        sums, h, mask, plane, PARTS=PARTS, BLOCK=BLOCK, num_warps=4, enable_fp_fusion=False
    )
    return sums


def mask_update(
    refined: "Tensor",
    seen: "Tensor",
    v: "Tensor",
    mask: "Tensor",
    table: "Tensor",
    index: "Tensor",
    closed_form: "tuple[Tensor, Tensor] | None" = None,
) -> None:
    """Write the refined mask and the one the next evaluation sees: float32[N, 1, H, W] in [0, 1].

    v: the mask head's output, float32[N, 1, H, W]; mask: the photo's own, float32[N, 1, H, W]; table: float32[S, 8]
    of `step_table`; index: int32[1], the row. closed_form: h float32[N, 3, H, W] and the sums of `confident_depth`,
    for Eq. 14; None = v itself. All are contiguous. Raises KernelError for tensors that `unsupported` names.
    """
    refuse(unsupported(refined, seen, v, mask, table, index, closed_form))
    images, _, height, width = v.shape
    h, sums = closed_form or (mask, mask)
    mask_update_kernel[(triton.cdiv(height * width, BLOCK), images)](
        refined,
        seen,
        v,
        h,
        mask,
        sums,
        table,
        index,
        height * width,
        CLOSED_FORM=closed_form is not None,
        PARTS=PARTS,
        BLOCK=BLOCK,
        num_warps=4,
        enable_fp_fusion=False,
    )


def unsupported(
    refined: "Tensor",
    seen: "Tensor",
    v: "Tensor",
    mask: "Tensor",
    table: "Tensor",
    index: "Tensor",
    closed_form: "tuple[Tensor, Tensor] | None",
) -> str | None:
    """Why the kernel cannot run on these, or None."""
    if problem := sized("v", v, 1):
        return problem
    shape = (v.shape[0], 1, v.shape[2], v.shape[3])
    problem = (
        dense("v", v, shape, "float32", device=v.device)
        or dense("refined", refined, shape, "float32", device=v.device)
        or dense("seen", seen, shape, "float32", device=v.device)
        or dense("mask", mask, shape, "float32", device=v.device)
        or dense("table", table, (len(table), COLUMNS), "float32", device=v.device)
        or dense("index", index, (1,), "int32", device=v.device)
    )
    if problem or closed_form is None:
        return problem
    h, sums = closed_form
    return _unsupported_photo(h, mask) or dense("sums", sums, (len(v), 4, PARTS), "float32", device=v.device)


def _unsupported_photo(h: "Tensor", mask: "Tensor") -> str | None:
    if problem := sized("h", h, 3):
        return problem
    images, _, height, width = h.shape
    return dense("h", h, (images, 3, height, width), "float32", device=h.device) or dense(
        "mask", mask, (images, 1, height, width), "float32", device=h.device
    )


def variants() -> list[Variant]:
    """`mask_update[_closed_form]` and the reduction that Eq. 14 needs, `confident_depth`.

    All are for planes of a multiple of 16 pixels. closed_form: Eq. 14, else the mask head's own.
    """
    return [_variant(False), _variant(True), _reduction()]


def _reduction() -> Variant:
    types = {"sums": "*fp32", "h": "*fp32", "mask": "*fp32", "plane": "i32"}
    return Variant(
        "confident_depth",
        confident_depth_kernel,
        types,
        {"PARTS": PARTS, "BLOCK": BLOCK},
        frozenset(types),
        (str(PARTS), "images", "1"),
        4,
        48,
        wide=frozenset({"loads"}),
    )


def _variant(closed_form: bool) -> Variant:
    pointers = ("refined", "seen", "v", "h", "mask", "sums", "table", "index")
    return Variant(
        "mask_update" + "_closed_form" * closed_form,
        mask_update_kernel,
        dict.fromkeys(pointers, "*fp32") | {"index": "*i32", "plane": "i32"},
        {"CLOSED_FORM": closed_form, "PARTS": PARTS, "BLOCK": BLOCK},
        frozenset({*pointers, "plane"}),
        (f"ceil(plane / {BLOCK})", "images", "1"),
        4,
        64,
    )
