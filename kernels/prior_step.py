"""One step of the sampler in one pass over memory: estimate, degradation prior, DDIM move, next network input.

ShadowDiffusion (CVPR 2023), Eq. 13, inside DDIM (Song et al. 2021, Eq. 12), with e the noise in x_t, a = alpha_bar
of this step, a' of the next, and A, B of `prior_coefficients`. The network estimates e, or v = sqrt(a) e -
sqrt(1 - a) z (Salimans & Ho, "Progressive Distillation", ICLR 2022), or the clean image z itself:

    e:  z = (x_t - sqrt(1 - a) e) / sqrt(a)
    v:  z = sqrt(a) x_t - sqrt(1 - a) v,                e = sqrt(1 - a) x_t + sqrt(a) v
    z:                                                  e = (x_t - sqrt(a) z) / sqrt(1 - a)

    x~  = A + B z           z clamped to [-1, 1] on request, after e is known; z itself without data consistency
    x_t <- sqrt(a') x~ + sqrt(1 - a' - sigma^2) e + sigma n   n: Philox noise of this step, made on the fly

At the last step x_t becomes x~. The new state is written in float32 and, in the same pass and the network's
precision, as the x_t channels of its input (y 3, mask 1, x_t 3): [N, 7, H, W] in NCHW, or [N, 8, H, W] in
channels-last memory with a last channel of zeros. Coefficients come from `step_table`'s row in device memory.
"""

from typing import TYPE_CHECKING, Literal

import triton
import triton.language as tl

from kernels.arguments import NETWORK_TYPES, dense, pixel_stride, refuse, sized, strided
from kernels.noise import gaussian
from kernels.step_table import COLUMNS
from kernels.variant import Variant

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 512
NONE, NCHW, NHWC = 0, 1, 2
"""Where the network's input goes: nowhere, planes, or pixels of eight channels."""
Prediction = Literal["noise", "v", "x0"]
PREDICTIONS: tuple[Prediction, ...] = ("noise", "v", "x0")
"""What a network may estimate, numbered as the kernel knows it."""


def reference(
    state: "Tensor",
    estimate: "Tensor",
    row: "Tensor",
    a: "Tensor | None" = None,
    b: "Tensor | None" = None,
    fresh: "Tensor | None" = None,
    *,
    prediction: Prediction = "noise",
    last: bool = False,
) -> "Tensor":
    """The next state in plain PyTorch, in the type of `state`; `fresh` is the step's noise if sigma > 0."""
    given, root = estimate.to(state.dtype), 1 / row[1]
    if prediction == "noise":
        z, e = (state - row[0] * given) * row[1], given
    elif prediction == "v":
        z, e = root * state - row[0] * given, row[0] * state + root * given
    else:
        z, e = given, (state - root * given) / row[0]
    z = z.clamp(-row[6], row[6])
    clean = z if a is None or b is None else a + b * z
    if last:
        return clean
    moved = row[2] * clean + row[3] * e
    return moved if fresh is None else moved + row[4] * fresh


def reference_input(y: "Tensor", mask: "Tensor", state: "Tensor") -> "Tensor":
    """The network's input [N, 7, H, W] in plain PyTorch: y in [0, 1] becomes [-1, 1]."""
    import torch

    return torch.cat((2 * y - 1, mask, state), dim=1)


@triton.jit
def clean_and_noise(x, given, coefficients, PREDICTION: tl.constexpr):
    """(z, e) of one channel as the network's estimate has it."""
    if PREDICTION == 0:
        return (x - tl.load(coefficients) * given) * tl.load(coefficients + 1), given
    else:
        spread = tl.load(coefficients)
        root = tl.div_rn(1.0, tl.load(coefficients + 1))
        if PREDICTION == 1:
            return root * x - spread * given, spread * x + root * given
        else:
            return given, (x - root * given) * tl.div_rn(1.0, spread)


@triton.jit
def next_value(
    x, given, n, a, b, inside, coefficients, PREDICTION: tl.constexpr, CONSISTENT: tl.constexpr, LAST: tl.constexpr
):
    """The next state of one channel; a and b point at its coefficients, n is its fresh noise times sigma."""
    z, e = clean_and_noise(x, given, coefficients, PREDICTION)
    limit = tl.load(coefficients + 6)
    z = tl.clamp(z, -limit, limit, propagate_nan=tl.PropagateNan.ALL)  # a broken network must not look healthy
    if CONSISTENT:
        z = tl.load(a, mask=inside, other=0.0) + tl.load(b, mask=inside, other=0.0) * z
    if LAST:
        return z
    else:
        return tl.load(coefficients + 2) * z + tl.load(coefficients + 3) * e + n


@triton.jit
def condition_channels(y, mask, plane, inside):
    """The first four channels of the network's input: y in [-1, 1] and the mask."""
    y0 = 2.0 * tl.load(y, mask=inside, other=0.0) - 1.0
    y1 = 2.0 * tl.load(y + plane, mask=inside, other=0.0) - 1.0
    y2 = 2.0 * tl.load(y + 2 * plane, mask=inside, other=0.0) - 1.0
    return y0, y1, y2, tl.load(mask, mask=inside, other=0.0)


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
    estimate_image,
    estimate_channel,
    estimate_pixel,
    condition,
    PREDICTION: tl.constexpr,
    CONSISTENT: tl.constexpr,
    STOCHASTIC: tl.constexpr,
    LAST: tl.constexpr,
    LAYOUT: tl.constexpr,
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
    e = estimate + image.to(tl.int64) * estimate_image + pixel.to(tl.int64) * estimate_pixel
    e0 = tl.load(e, mask=inside, other=0.0).to(tl.float32)
    e1 = tl.load(e + estimate_channel, mask=inside, other=0.0).to(tl.float32)
    e2 = tl.load(e + 2 * estimate_channel, mask=inside, other=0.0).to(tl.float32)
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
    x0 = next_value(x0, e0, n0, a, b, inside, coefficients, PREDICTION, CONSISTENT, LAST)
    x1 = next_value(x1, e1, n1, a + plane, b + plane, inside, coefficients, PREDICTION, CONSISTENT, LAST)
    x2 = next_value(x2, e2, n2, a + 2 * plane, b + 2 * plane, inside, coefficients, PREDICTION, CONSISTENT, LAST)
    tl.store(out + whole, x0, mask=inside)
    tl.store(out + whole + plane, x1, mask=inside)
    tl.store(out + whole + 2 * plane, x2, mask=inside)

    if LAYOUT == 1:
        target = network + 7 * first + pixel
        if condition != 0:
            y0, y1, y2, m = condition_channels(y + whole, mask + first + pixel, plane, inside)
            tl.store(target, y0, mask=inside)
            tl.store(target + plane, y1, mask=inside)
            tl.store(target + 2 * plane, y2, mask=inside)
            tl.store(target + 3 * plane, m, mask=inside)
        tl.store(target + 4 * plane, x0, mask=inside)
        tl.store(target + 5 * plane, x1, mask=inside)
        tl.store(target + 6 * plane, x2, mask=inside)
    if LAYOUT == 2:
        y0, y1, y2, m = condition_channels(y + whole, mask + first + pixel, plane, inside)
        # join() puts its arguments beside each other in one thread, the last join innermost:
        # channels y0 y1 y2 m x0 x1 x2 0 of a pixel leave as one store
        even = tl.join(tl.join(y0, x0), tl.join(y2, x2))
        odd = tl.join(tl.join(y1, x1), tl.join(m, tl.zeros_like(m)))
        channels = tl.reshape(tl.join(even, odd), (BLOCK, 8))
        target = network + 8 * first + pixel[:, None] * 8 + tl.arange(0, 8)[None, :]
        tl.store(target, channels.to(network.dtype.element_ty), mask=inside[:, None])


def warps(element_size: int, layout: int, stochastic: bool) -> int:
    """Two give a thread eight pixels, a 128-bit store of half-precision planes; noise needs the registers instead.

    element_size: bytes of a value in the network's input, or in its estimate where there is no input.
    """
    return 2 if element_size == 2 and layout == NCHW and not stochastic else 4


def prior_step(
    state: "Tensor",
    estimate: "Tensor",
    table: "Tensor",
    index: "Tensor",
    *,
    prediction: Prediction = "noise",
    coefficients: "tuple[Tensor, Tensor] | None" = None,
    condition: "tuple[Tensor, Tensor] | None" = None,
    network: "Tensor | None" = None,
    stream: "Tensor | None" = None,
    last: bool = False,
    out: "Tensor | None" = None,
) -> "Tensor":
    """Advance state: float32[N, 3, H, W], about [-1, 1], by one step; returns `out` (default: `state` itself).

    estimate: what the network says, [N, 3, H, W], float32, float16 or bfloat16, planes or channels-last,
    slices allowed; prediction: what that is (x0, the clean image, needs alpha_bar < 1 but at the last step).
    table: float32[S, 8] of `step_table`; index: int32[1], the row. coefficients: A and B, float32[N, 3, H, W];
    None = no data consistency. network: the network's input, [N, 7, H, W] contiguous or [N, 8, H, W] in
    channels-last memory; None = not wanted. condition: y float32[N, 3, H, W] in [0, 1] and mask float32[N, 1,
    H, W], written to the input too; None leaves its first four channels as they are (NCHW only). stream:
    int64[N, 4] of `noise_stream`, for a schedule with sigma > 0. last: state becomes the clean estimate itself.
    Raises KernelError for tensors that `unsupported` names.
    """
    out = state if out is None else out
    refuse(unsupported(state, estimate, table, index, prediction, coefficients, condition, network, stream, last, out))
    images, _, height, width = state.shape
    a, b = coefficients or (state, state)
    y, mask = condition or (state, state)
    layout = NONE if network is None else NCHW if network.shape[1] == 7 else NHWC
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
        estimate.stride(0),
        estimate.stride(1),
        pixel_stride(estimate),
        int(condition is not None),
        PREDICTION=PREDICTIONS.index(prediction),
        CONSISTENT=coefficients is not None,
        STOCHASTIC=stochastic,
        LAST=last,
        LAYOUT=layout,
        BLOCK=BLOCK,
        num_warps=warps((estimate if network is None else network).element_size(), layout, stochastic),
        enable_fp_fusion=False,
    )
    return out


def unsupported(
    state: "Tensor",
    estimate: "Tensor",
    table: "Tensor",
    index: "Tensor",
    prediction: str,
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
    if prediction not in PREDICTIONS:
        return f"prediction {prediction!r} is unknown: use one of {', '.join(PREDICTIONS)}"
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
        or strided("estimate", estimate, shape, *NETWORK_TYPES, device=device)
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
    return problem or (None if network is None else _unsupported_input(network, state, condition is not None))


def _unsupported_input(network: "Tensor", state: "Tensor", conditioned: bool) -> str | None:
    images, _, height, width = state.shape
    if tuple(network.shape) == (images, 8, height, width):
        if not conditioned:
            return "a channels-last network input is written whole: give condition too"
        pixels = network.permute(0, 2, 3, 1)
        return dense("network", pixels, (images, height, width, 8), *NETWORK_TYPES, device=state.device)
    return dense("network", network, (images, 7, height, width), *NETWORK_TYPES, device=state.device)


POINTERS = ("out", "network", "state", "estimate", "a", "b", "y", "mask", "table", "index", "stream")


def variants() -> list[Variant]:
    """`prior_step_<precision>[_to_<precision>]_<target>[_v|_x0][_free][_noise][_any]`.

    precision: fp32, fp16 or bf16, of the network's estimate, and of its input where that differs: engines estimate
    in float32 whatever they take. target: "nchw" or "nhwc", the layout of its next input; "state" for a network that
    takes x_t by itself; "last" where there is no next. v, x0: what the network estimates instead of the noise, with
    neither of the following two. free: without data consistency. noise: for sigma > 0. any: for planes of any size,
    the others for a multiple of 16 pixels.
    """
    found = []
    for kind in ("fp32", "fp16", "bf16"):
        for consistent in (True, False):
            for layout in (NCHW, NHWC):
                found += [_variant(kind, layout, consistent, stochastic) for stochastic in (False, True)]
            found.append(_variant(kind, NONE, consistent, False, last=True))
        for other in ("v", "x0"):
            found += [_variant(kind, layout, True, False, other, last=layout == NONE) for layout in (NCHW, NONE)]
    for consistent in (True, False):
        for stochastic in (False, True):
            found.append(_variant("fp32", NONE, consistent, stochastic))
            found += [_variant("fp32", NCHW, consistent, stochastic, to=kind) for kind in ("fp16", "bf16")]
    return [*found, _variant("fp32", NCHW, True, True, aligned=False)]


def _variant(
    kind: str,
    layout: int,
    consistent: bool,
    stochastic: bool,
    prediction: Prediction = "noise",
    *,
    to: str | None = None,
    last: bool = False,
    aligned: bool = True,
) -> Variant:
    to = to or kind
    types = dict.fromkeys(POINTERS, "*fp32") | {"index": "*i32", "stream": "*i64"}
    types |= {"network": "*fp32" if layout == NONE else f"*{to}", "estimate": f"*{kind}"}
    types |= {"plane": "i32", "width": "i32", "estimate_image": "i32", "estimate_channel": "i32", "condition": "i32"}
    constants = {
        "estimate_pixel": 8 if layout == NHWC else 1,
        "PREDICTION": PREDICTIONS.index(prediction),
        "CONSISTENT": consistent,
        "STOCHASTIC": stochastic,
        "LAST": last,
        "LAYOUT": layout,
        "BLOCK": BLOCK,
    }
    multiples = {"plane", "estimate_image", "estimate_channel"}
    if layout == NHWC:  # the estimate is the first three of eight channels
        del types["estimate_channel"]
        constants["estimate_channel"] = 1
        multiples = {"plane", "estimate_image"}
    target = "last" if last else ("state", "nchw", "nhwc")[layout]
    parts = ["prior_step", kind] + ["to", to] * (to != kind) + [target]
    parts += [prediction] * (prediction != "noise") + ["free"] * (not consistent)
    parts += ["noise"] * stochastic + ["any"] * (not aligned)
    return Variant(
        "_".join(parts),
        prior_step_kernel,
        types,
        constants,
        frozenset(POINTERS) | (multiples if aligned else set()),
        (f"ceil(plane / {BLOCK})", "images", "1"),
        warps(4 if to == "fp32" else 2, layout, stochastic),
        96 if stochastic else 80,
        wide=frozenset({"loads", "stores"} if aligned else ()),
    )
