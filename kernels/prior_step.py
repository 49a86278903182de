"""One step of the sampler in one pass over memory: estimate, degradation prior, DDIM move, next network input.

ShadowDiffusion (CVPR 2023), Eq. 13, inside DDIM (Song et al. 2021, Eq. 12), with e the network's estimate of the noise
in x_t, a = alpha_bar of this step, a' of the next, and A, B of `prior_coefficients`:

    z   = (x_t - sqrt(1 - a) e) / sqrt(a)      clamped to [-1, 1] on request
    x~  = A + B z                              z itself without data consistency
    x_t <- sqrt(a') x~ + sqrt(1 - a' - sigma^2) e + sigma n   n: Philox noise of this step, made on the fly

At the last step x_t becomes x~. The new state is written in float32 and, in the same pass and the network's
precision, as the x_t channels of its packed input [N, 7, H, W] (y 3, mask 1, x_t 3). Coefficients come from
`step_table`'s row in device memory.
"""

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from shadowdiffusion.kernels.arguments import NETWORK_TYPES, dense, refuse, sized
from shadowdiffusion.kernels.noise import gaussian
from shadowdiffusion.kernels.step_table import COLUMNS
from shadowdiffusion.kernels.variant import Variant

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 512


def reference(
    state: "Tensor",
    estimate: "Tensor",
    row: "Tensor",
    a: "Tensor | None" = None,
    b: "Tensor | None" = None,
    fresh: "Tensor | None" = None,
    *,
    last: bool = False,
) -> "Tensor":
    """The next state in plain PyTorch, in the type of `state`; `fresh` is the step's noise if sigma > 0."""
    e = estimate.to(state.dtype)
    z = ((state - row[0] * e) * row[1]).clamp(-row[6], row[6])
    clean = z if a is None or b is None else a + b * z
    if last:
        return clean
    moved = row[2] * clean + row[3] * e
    return moved if fresh is None else moved + row[4] * fresh


def reference_input(y: "Tensor", mask: "Tensor", state: "Tensor") -> "Tensor":
    """The network's packed input [N, 7, H, W] in plain PyTorch: y in [0, 1] becomes [-1, 1]."""
    import torch

    return torch.cat((2 * y - 1, mask, state), dim=1)


@triton.jit
def next_value(x, e, n, a, b, inside, coefficients, CONSISTENT: tl.constexpr, LAST: tl.constexpr):
    """The next state of one channel; a and b point at its coefficients, n is its fresh noise times sigma."""
    z = (x - tl.load(coefficients) * e) * tl.load(coefficients + 1)
    limit = tl.load(coefficients + 6)
    z = tl.clamp(z, -limit, limit, propagate_nan=tl.PropagateNan.ALL)  # a broken network must not look healthy
    if CONSISTENT:
        z = tl.load(a, mask=inside, other=0.0) + tl.load(b, mask=inside, other=0.0) * z
    if LAST:
        return z
    else:
        return tl.load(coefficients + 2) * z + tl.load(coefficients + 3) * e + n


@triton.jit
def prior_step_kernel(
    out,
    network,
    state,
    estimate,
    a,
    b,
    y,
    mask,
    table,
    index,
    stream,
    plane,
    width,
    condition,
    CONSISTENT: tl.constexpr,
    STOCHASTIC: tl.constexpr,
    LAST: tl.constexpr,
    PACKED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program: BLOCK pixels of one image, all channels."""
    image = tl.program_id(1)
    first = image.to(tl.int64) * plane
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < plane
    step = tl.load(index)
    coefficients = table + step * 8

    whole = 3 * first + pixel
    e = estimate + whole
    e0 = tl.load(e, mask=inside, other=0.0)
    e1 = tl.load(e + plane, mask=inside, other=0.0)
    e2 = tl.load(e + 2 * plane, mask=inside, other=0.0)
    x0 = tl.load(state + whole, mask=inside, other=0.0)
    x1 = tl.load(state + whole + plane, mask=inside, other=0.0)
    x2 = tl.load(state + whole + 2 * plane, mask=inside, other=0.0)
    n0, n1, n2 = 0.0, 0.0, 0.0
    if STOCHASTIC:
        sigma = tl.load(coefficients + 4)
        n0, n1, n2 = gaussian(pixel, width, step + 1, image, stream)
        n0, n1, n2 = sigma * n0, sigma * n1, sigma * n2

    a += whole
    b += whole
    x0 = next_value(x0, e0, n0, a, b, inside, coefficients, CONSISTENT, LAST)
    x1 = next_value(x1, e1, n1, a + plane, b + plane, inside, coefficients, CONSISTENT, LAST)
    x2 = next_value(x2, e2, n2, a + 2 * plane, b + 2 * plane, inside, coefficients, CONSISTENT, LAST)
    tl.store(out + whole, x0, mask=inside)
    tl.store(out + whole + plane, x1, mask=inside)
    tl.store(out + whole + 2 * plane, x2, mask=inside)

    if PACKED:
        target = network + 7 * first + pixel
        if condition != 0:
            light = y + whole
            tl.store(target, 2.0 * tl.load(light, mask=inside, other=0.0) - 1.0, mask=inside)
            tl.store(target + plane, 2.0 * tl.load(light + plane, mask=inside, other=0.0) - 1.0, mask=inside)
            tl.store(target + 2 * plane, 2.0 * tl.load(light + 2 * plane, mask=inside, other=0.0) - 1.0, mask=inside)
            tl.store(target + 3 * plane, tl.load(mask + first + pixel, mask=inside, other=0.0), mask=inside)
        tl.store(target + 4 * plane, x0, mask=inside)
        tl.store(target + 5 * plane, x1, mask=inside)
        tl.store(target + 6 * plane, x2, mask=inside)


def warps(halves: bool, stochastic: bool) -> int:
    """Two give a thread eight pixels, a 128-bit store of half-precision planes; noise needs the registers instead."""
    return 2 if halves and not stochastic else 4


def prior_step(
    state: "Tensor",
    estimate: "Tensor",
    table: "Tensor",
    index: "Tensor",
    *,
    coefficients: "tuple[Tensor, Tensor] | None" = None,
    condition: "tuple[Tensor, Tensor] | None" = None,
    network: "Tensor | None" = None,
    stream: "Tensor | None" = None,
    last: bool = False,
    out: "Tensor | None" = None,
) -> "Tensor":
    """Advance state: float32[N, 3, H, W], about [-1, 1], by one step; returns `out` (default: `state` itself).

    estimate: the noise that the network sees, float32[N, 3, H, W]. table: float32[S, 8] of `step_table`; index:
    int32[1], the row. coefficients: A and B, float32[N, 3, H, W]; None = no data consistency. network: the network's
    packed input, [N, 7, H, W] in float32, float16 or bfloat16; None = not wanted. condition: y float32[N, 3, H, W] in
    [0, 1] and mask float32[N, 1, H, W], written to the input too; None leaves its first four channels as they are.
    stream: int64[N, 4] of `noise_stream`, for a schedule with sigma > 0. last: state becomes the clean estimate itself.
    All are contiguous. Raises KernelError for tensors that `unsupported` names.
    """
    out = state if out is None else out
    refuse(unsupported(state, estimate, table, index, coefficients, condition, network, stream, last, out))
    images, _, height, width = state.shape
    a, b = coefficients or (state, state)
    y, mask = condition or (state, state)
    stochastic = stream is not None and not last
    prior_step_kernel[(triton.cdiv(height * width, BLOCK), images)](
        out,
        state if network is None else network,
        state,
        estimate,
        a,
        b,
        y,
        mask,
        table,
        index,
        index if stream is None else stream,
        height * width,
        width,
        int(condition is not None),
        CONSISTENT=coefficients is not None,
        STOCHASTIC=stochastic,
        LAST=last,
        PACKED=network is not None,
        BLOCK=BLOCK,
        num_warps=warps(network is not None and network.element_size() == 2, stochastic),
        enable_fp_fusion=False,
    )
    return out


def unsupported(
    state: "Tensor",
    estimate: "Tensor",
    table: "Tensor",
    index: "Tensor",
    coefficients: "tuple[Tensor, Tensor] | None",
    condition: "tuple[Tensor, Tensor] | None",
    network: "Tensor | None",
    stream: "Tensor | None",
    last: bool,
    out: "Tensor",
) -> str | None:
    """Why the kernel cannot run on these, or None."""
    if problem := sized("state", state, 3, bits=28):
        return problem
    if last and network is not None:
        return "the last step has no next network input: leave network out"
    if condition is not None and network is None:
        return "y and mask are only written to a network input: give network too"
    images, _, height, width = state.shape
    device = state.device
    shape = (images, 3, height, width)
    problem = (
        dense("state", state, shape, "float32", device=device)
        or dense("out", out, shape, "float32", device=device)
        or dense("estimate", estimate, shape, "float32", device=device)
        or dense("table", table, (len(table), COLUMNS), "float32", device=device)
        or dense("index", index, (1,), "int32", device=device)
    )
    for name, tensor in zip(("A", "B"), coefficients or (), strict=False):
        problem = problem or dense(name, tensor, shape, "float32", device=device)
    if condition is not None:
        problem = problem or dense("y", condition[0], shape, "float32", device=device)
        problem = problem or dense("mask", condition[1], (images, 1, height, width), "float32", device=device)
    if stream is not None:
        problem = problem or dense("stream", stream, (images, 4), "int64", device=device)
    if network is not None:
        problem = problem or dense("network", network, (images, 7, height, width), *NETWORK_TYPES, device=device)
    return problem


POINTERS = ("out", "network", "state", "estimate", "a", "b", "y", "mask", "table", "index", "stream")


def variants() -> list[Variant]:
    """`prior_step_<target>[_free][_noise]` and `prior_step_last[_free]`, for planes of a multiple of 16 pixels.

    target: "packed_<fp32|fp16|bf16>", a network with one input of that precision, or "state", one that takes x_t by
    itself; "last" where there is no next. free: without data consistency. noise: for sigma > 0.
    """
    found = [
        _variant(packed, consistent, stochastic)
        for packed in (None, "fp32", "fp16", "bf16")
        for consistent in (True, False)
        for stochastic in (False, True)
    ]
    return [*found, _variant(None, True, False, last=True), _variant(None, False, False, last=True)]


def _variant(packed: str | None, consistent: bool, stochastic: bool, *, last: bool = False) -> Variant:
    types = dict.fromkeys(POINTERS, "*fp32") | {"index": "*i32", "stream": "*i64", "network": f"*{packed or 'fp32'}"}
    target = "last" if last else f"packed_{packed}" if packed else "state"
    return Variant(
        f"prior_step_{target}" + "_free" * (not consistent) + "_noise" * stochastic,
        prior_step_kernel,
        types | dict.fromkeys(("plane", "width", "condition"), "i32"),
        {"CONSISTENT": consistent, "STOCHASTIC": stochastic, "LAST": last, "PACKED": bool(packed), "BLOCK": BLOCK},
        frozenset({*POINTERS, "plane"}),
        (f"ceil(plane / {BLOCK})", "images", "1"),
        warps(packed in ("fp16", "bf16"), stochastic),
        96 if stochastic else 80,
    )
