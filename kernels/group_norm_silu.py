"""Group normalisation and SiLU of a residual block, with the time embedding and the residual added on the way in.

    s = x + residual + time[n, c]          y = silu((s - mean) / sqrt(variance + eps) * weight[c] + bias[c])

mean and variance over a group of channels of one image (Wu & He, "Group Normalization", ECCV 2018); silu(v) =
v / (1 + exp(-v)). Statistics are float32 sums of squared differences from a mean, never E[s^2] - E[s]^2, which
cancels: a block of one channel is reduced in two passes over registers, blocks and channels are merged with the
parallel update of Chan, Golub and LeVeque (1979), always in the same order. Three launches: partial statistics per
channel and part of the plane (so that batch 1 fills a GPU), merging per group, normalising.
"""

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from shadowdiffusion.kernels.arguments import GRID, NETWORK_TYPES, dense, refuse, sized

if TYPE_CHECKING:
    from torch import Tensor

PARTS = 128
"""Parts of a plane at most."""
TILE = 2048
"""Elements per program: of one channel (NCHW), or of 32 channels (NHWC)."""
NHWC_CHANNELS = 32
GROUP_CHANNELS = 64
"""Channels per group at most."""


def reference(
    x: "Tensor",
    weight: "Tensor",
    bias: "Tensor",
    groups: int,
    *,
    time: "Tensor | None" = None,
    residual: "Tensor | None" = None,
    eps: float = 1e-5,
    silu: bool = True,
) -> tuple["Tensor", "Tensor"]:
    """(y, s) in plain PyTorch and float64."""
    import torch.nn.functional as F

    s = x.double()
    if residual is not None:
        s = s + residual.double()
    if time is not None:
        s = s + time.double()[:, :, None, None]
    y = F.group_norm(s, groups, weight.double(), bias.double(), eps)
    return (F.silu(y) if silu else y), s


@triton.jit
def place_tile(channels, plane, start, PIXEL_STRIDE: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr):
    """The tile [PIXELS, CHANNELS] from pixel `start` on: offsets in the tensor, whether inside, image, channels, and
    whether these exist.
    """
    blocks = tl.cdiv(channels, CHANNELS)
    image = (tl.program_id(0) // blocks).to(tl.int64)
    first = tl.program_id(0) % blocks * CHANNELS
    member, pixel = tl.arange(0, CHANNELS), tl.arange(0, PIXELS)
    c, p = first + member, start + pixel
    # where the tile begins has 64 bits, what lies inside 32
    if PIXEL_STRIDE == 1:  # NCHW
        offset = (image * channels + first) * plane + start + (member[None, :] * plane + pixel[:, None])
    else:  # NHWC
        offset = (image * plane + start) * channels + first + (pixel[:, None] * channels + member[None, :])
    return offset, (p[:, None] < plane) & (c[None, :] < channels), image, c, c < channels


@triton.jit
def partial_statistics_kernel(
    statistics,
    x,
    residual,
    channels,
    plane,
    length,
    RESIDUAL: tl.constexpr,
    PARTS: tl.constexpr,
    PIXEL_STRIDE: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """One program: `length` pixels (a multiple of PIXELS) of CHANNELS channels of one image, mean and squares each."""
    part = tl.program_id(1)
    start = part * length
    end = tl.minimum(start + length, plane)
    mean = tl.zeros((CHANNELS,), tl.float32)
    squares = tl.zeros((CHANNELS,), tl.float32)
    count = 0.0
    while start < end:
        offset, inside, _, _, _ = place_tile(channels, plane, start, PIXEL_STRIDE, PIXELS, CHANNELS)
        s = tl.load(x + offset, mask=inside, other=0.0).to(tl.float32)
        if RESIDUAL:
            s += tl.load(residual + offset, mask=inside, other=0.0).to(tl.float32)
        here = tl.minimum(end - start, PIXELS).to(tl.float32)
        block_mean = tl.sum(s, axis=0) / here
        away = tl.where(inside, s - block_mean[None, :], 0.0)
        total = count + here
        delta = block_mean - mean
        mean += delta * (here / total)
        squares += tl.sum(away * away, axis=0) + delta * delta * (count * here / total)
        count = total
        start += PIXELS
    _, _, image, c, known = place_tile(channels, plane, 0, PIXEL_STRIDE, PIXELS, CHANNELS)
    target = statistics + image * channels * (2 * PARTS) + c * (2 * PARTS) + part
    tl.store(target, mean, mask=known)
    tl.store(target + PARTS, squares, mask=known)


@triton.jit
def merge_statistics_kernel(
    affine,
    statistics,
    time,
    weight,
    eps,
    channels,
    group_channels,
    plane,
    length,
    TIME: tl.constexpr,
    SHARED: tl.constexpr,
    PARTS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """One program: one group of one image, to the centre and scale of each of its channels.

    SHARED: `time` is one row for all images. CHANNELS: those of the group at most.
    """
    groups = channels // group_channels
    image = (tl.program_id(0) // groups).to(tl.int64)
    member = tl.arange(0, CHANNELS)
    c = tl.program_id(0) % groups * group_channels + member
    known = member < group_channels
    first = image * channels
    part = tl.arange(0, PARTS)
    count = tl.minimum(tl.maximum(plane - part * length, 0), length).to(tl.float32)
    inside = known[:, None] & (count > 0)[None, :]
    # parts that nobody wrote are read and dropped: a mask that changes along a row would read value by value
    source = statistics + first * (2 * PARTS) + c[:, None] * (2 * PARTS) + part[None, :]
    mean = tl.where(inside, tl.load(source, mask=known[:, None], other=0.0), 0.0)
    squares = tl.where(inside, tl.load(source + PARTS, mask=known[:, None], other=0.0), 0.0)
    shift = tl.zeros((CHANNELS,), tl.float32)
    if TIME:
        shift = tl.load(time + c if SHARED else time + first + c, mask=known, other=0.0).to(tl.float32)
    mean += shift[:, None]
    total = 1.0 * group_channels * plane  # either may be a constant: Triton specialises on 1, which has no type
    weights = tl.where(inside, count[None, :], 0.0) / total
    centre = tl.sum(tl.sum(mean * weights, axis=1), axis=0)
    away = mean - centre
    spread = squares / total + away * away * weights
    variance = tl.sum(tl.sum(spread, axis=1), axis=0)
    scale = tl.div_rn(tl.load(weight + c, mask=known, other=0.0), tl.sqrt_rn(variance + tl.load(eps)))
    target = affine + first * 2 + c * 2
    tl.store(target, centre - shift, mask=known)
    tl.store(target + 1, scale, mask=known)


@triton.jit
def normalise_kernel(
    out,
    summed,
    x,
    residual,
    affine,
    bias,
    time,
    channels,
    plane,
    SILU: tl.constexpr,
    RESIDUAL: tl.constexpr,
    TIME: tl.constexpr,
    KEEP: tl.constexpr,
    PIXEL_STRIDE: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """One program: PIXELS pixels of CHANNELS channels of one image."""
    start = tl.program_id(1) * PIXELS
    offset, inside, image, c, known = place_tile(channels, plane, start, PIXEL_STRIDE, PIXELS, CHANNELS)
    first = image * channels
    s = tl.load(x + offset, mask=inside, other=0.0).to(tl.float32)
    if RESIDUAL:
        s += tl.load(residual + offset, mask=inside, other=0.0).to(tl.float32)
    if KEEP:
        kept = s
        if TIME:
            kept += tl.load(time + first + c, mask=known, other=0.0).to(tl.float32)[None, :]
        tl.store(summed + offset, kept.to(summed.dtype.element_ty), mask=inside)
    source = affine + first * 2 + c * 2
    centre = tl.load(source, mask=known, other=0.0)
    scale = tl.load(source + 1, mask=known, other=0.0)
    shift = tl.load(bias + c, mask=known, other=0.0)
    y = (s - centre[None, :]) * scale[None, :] + shift[None, :]
    if SILU:
        y = y / (1.0 + tl.exp(-y))
    tl.store(out + offset, y.to(out.dtype.element_ty), mask=inside)


def group_norm_silu(
    out: "Tensor",
    x: "Tensor",
    weight: "Tensor",
    bias: "Tensor",
    eps: "Tensor",
    groups: int,
    *,
    time: "Tensor | None" = None,
    residual: "Tensor | None" = None,
    summed: "Tensor | None" = None,
    silu: bool = True,
) -> "Tensor":
    """Fill out and return it; `out`, x, residual and summed are [N, C, H, W] of one type and one memory layout.

    They are float32, float16 or bfloat16, contiguous or channels-last; out may be x. weight, bias: float32[C];
    eps: float32[1]; time: float32[N, C]; summed: receives s, rounded to its type. silu: False leaves out the
    activation. Raises KernelError for tensors that `unsupported` names.
    """
    refuse(unsupported(out, x, weight, bias, eps, groups, time, residual, summed))
    images, channels, height, width = x.shape
    plane = height * width
    pixel_stride, pixels, block = _tile(x)
    length = pixels * max(1, triton.cdiv(plane, pixels * PARTS))
    statistics = x.new_empty(images, channels, 2, PARTS, dtype=weight.dtype)
    affine = x.new_empty(images, channels, 2, dtype=weight.dtype)
    columns = images * triton.cdiv(channels, block)
    other = x if residual is None else residual
    embedding = weight if time is None else time
    shape = {"PIXEL_STRIDE": pixel_stride, "PIXELS": pixels, "CHANNELS": block}
    options = {"num_warps": 4, "enable_fp_fusion": False}
    partial_statistics_kernel[(columns, triton.cdiv(plane, length))](
        statistics, x, other, channels, plane, length, RESIDUAL=residual is not None, PARTS=PARTS, **shape, **options
    )
    merge_statistics_kernel[(images * groups,)](
        affine,
        statistics,
        embedding,
        weight,
        eps,
        channels,
        channels // groups,
        plane,
        length,
        TIME=time is not None,
        SHARED=False,
        PARTS=PARTS,
        CHANNELS=triton.next_power_of_2(channels // groups),
        num_warps=merge_warps(channels // groups),
        enable_fp_fusion=False,
    )
    normalise_kernel[(columns, triton.cdiv(plane, pixels))](
        out,
        out if summed is None else summed,
        x,
        other,
        affine,
        bias,
        embedding,
        channels,
        plane,
        SILU=silu,
        RESIDUAL=residual is not None,
        TIME=time is not None,
        KEEP=summed is not None,
        **shape,
        **options,
    )
    return out


def merge_warps(group_channels: int) -> int:
    """Warps that merge a group: each thread reads four parts of a channel at a time."""
    return min(8, triton.next_power_of_2(group_channels))


def _tile(x: "Tensor") -> tuple[int, int, int]:
    """(elements between pixels, 1 standing for NCHW; pixels and channels per program)."""
    return (1, TILE, 1) if x.is_contiguous() else (0, TILE // NHWC_CHANNELS, NHWC_CHANNELS)


def unsupported(
    out: "Tensor",
    x: "Tensor",
    weight: "Tensor",
    bias: "Tensor",
    eps: "Tensor",
    groups: int,
    time: "Tensor | None",
    residual: "Tensor | None",
    summed: "Tensor | None",
) -> str | None:
    """Why the kernels cannot run on these, or None."""
    if problem := sized("x", x, "C", bits=27):
        return problem
    images, channels, height, width = x.shape
    if height * width > GRID * _tile(x)[1]:
        return f"x has {height * width} pixels: give {GRID * _tile(x)[1]} at most in this memory layout"
    if groups < 1 or channels % groups or channels // groups > GROUP_CHANNELS:
        return f"{groups} groups of {channels} channels: they must divide them, at most {GROUP_CHANNELS} each"
    kind = str(x.dtype).removeprefix("torch.")
    order = (0, 1, 2, 3) if x.is_contiguous() else (0, 2, 3, 1)
    shape = tuple(x.permute(order).shape)
    problem = dense("x", x.permute(order), shape, *NETWORK_TYPES, device=x.device)
    for name, tensor in (("out", out), ("residual", residual), ("summed", summed)):
        if tensor is not None:
            arranged = tensor.permute(order) if tensor.ndim == 4 else tensor
            problem = problem or dense(name, arranged, shape, kind, device=x.device)
    for name, tensor in (("weight", weight), ("bias", bias)):
        problem = problem or dense(name, tensor, (channels,), "float32", device=x.device)
    problem = problem or dense("eps", eps, (1,), "float32", device=x.device)
    return problem or (None if time is None else dense("time", time, (images, channels), "float32", device=x.device))
