"""The kernels of `group_norm_silu` as plugins of TensorRT: with its order of arguments.

    statistics(x)    merge(x, statistics, weight, eps, time)    normalise(x, affine, bias)

TensorRT calls the one kernel of a plugin with the addresses of the inputs, then 32-bit integers, then the addresses
of the outputs. So there are three plugins in a row, since each launch needs what all programs of the one before have
written. `merge` reads of x its size alone. Pixels are divided alike in both memory layouts, because `merge` sees
neither. Compiled and run in Triton's interpreter, not by TensorRT yet.
"""

from collections.abc import Callable, Sequence
from typing import Any

import triton
import triton.language as tl

from shadowdiffusion.kernels.group_norm_silu import (
    NHWC_CHANNELS,
    PARTS,
    TILE,
    merge_statistics_kernel,
    merge_warps,
    normalise_kernel,
    partial_statistics_kernel,
)
from shadowdiffusion.kernels.variant import Variant

PIXELS = TILE // NHWC_CHANNELS
"""Pixels, times 32 channels, per program."""
MULTIPLE = 16
"""What the number of channels must be a multiple of."""
NUMBERS = ("channels", "group_channels", "plane", "length")
Launch = tuple[tuple[Any, Any], tuple[Any, ...]]


# fmt: off
@triton.jit
def statistics_plugin(
    x, channels, plane, length, statistics,
    PARTS: tl.constexpr, PIXEL_STRIDE: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):
    """x [N, C, H, W] -> statistics float32[N, C, 2, PARTS]."""
    partial_statistics_kernel(
        statistics, x, x, channels, plane, length, False, PARTS, PIXEL_STRIDE, PIXELS, CHANNELS
    )


@triton.jit
def merge_plugin(
    x, statistics, weight, eps, time, channels, group_channels, plane, length, affine,
    SHARED: tl.constexpr, PARTS: tl.constexpr, CHANNELS: tl.constexpr,
):
    """statistics, weight float32[C], eps float32[1], time float32[N or, if SHARED, 1, C] -> affine float32[N, C, 2]."""
    merge_statistics_kernel(
        affine, statistics, time, weight, eps, channels, group_channels, plane, length, True, SHARED, PARTS, CHANNELS
    )


@triton.jit
def normalise_plugin(
    x, affine, bias, channels, plane, out, PIXEL_STRIDE: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr
):
    """x, affine, bias float32[C] -> out, of the type and layout of x."""
    normalise_kernel(
        out, out, x, x, affine, bias, bias, channels, plane, True, False, False, False, PIXEL_STRIDE, PIXELS, CHANNELS
    )
# fmt: on


def variant(kernel: Any, kind: str, planar: bool, shared: bool, group_channels: int) -> Variant:
    """A kernel for x of type `kind`, in planes or with the channels of a pixel together, as it is compiled.

    shared: one row of time for all images. group_channels: of each group, 1 to 64.
    """
    merges = kernel is merge_plugin
    constants = {"SHARED": shared, "PARTS": PARTS, "PIXEL_STRIDE": int(planar), "PIXELS": PIXELS}
    constants |= {"CHANNELS": triton.next_power_of_2(group_channels) if merges else NHWC_CHANNELS}
    names = [name for name in kernel.arg_names if name not in constants]
    types = dict.fromkeys(names, "*fp32") | {name: f"*{kind}" for name in names if name in ("x", "out")}
    types |= {name: "i32" for name in names if name in NUMBERS}
    columns = f"images * ceil(channels / {NHWC_CHANNELS})"
    grids = {
        statistics_plugin: (columns, "ceil(plane / length)", "1"),
        merge_plugin: ("images * ceil(channels / group_channels)", "1", "1"),
        normalise_plugin: (columns, f"ceil(plane / {PIXELS})", "1"),
    }
    return Variant(
        name=f"{kernel.__name__}_{kind}",
        kernel=kernel,
        types=types,
        constants={name: value for name, value in constants.items() if name in kernel.arg_names},
        aligned=frozenset(name for name in names if types[name] != "i32" or name in ("channels", "length")),
        grid=grids[kernel],
        warps=merge_warps(group_channels) if merges else 4,
        registers=144 if merges else 176 if planar else 80,  # planes: 16 rows apart in memory per thread
    )


def launch(kernel: Any, shape: Sequence[Any], group_channels: Any, cdiv: Callable[[Any, Any], Any]) -> Launch:
    """Programs along x and y, and the integers, for x of `shape` [N, C, H, W].

    Sizes may be whatever `cdiv`, which divides and rounds up, and products understand: integers, or TensorRT's
    expressions for those it learns later.
    """
    images, channels, plane = shape[0], shape[1], shape[2] * shape[3]
    length = cdiv(plane, PIXELS * PARTS) * PIXELS
    columns = images * cdiv(channels, NHWC_CHANNELS)
    if kernel is statistics_plugin:
        return (columns, cdiv(plane, length)), (channels, plane, length)
    if kernel is normalise_plugin:
        return (columns, cdiv(plane, PIXELS)), (channels, plane)
    return (images * cdiv(channels, group_channels), 1), (channels, group_channels, plane, length)
