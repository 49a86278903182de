"""The first state of the diffusion, and what the denoiser sees of the photo: once per image, in one pass.

    x = n                                          from pure noise
    x = sqrt(1 - a) n + sqrt(a) (2 clean - 1)      from the degradation prior's image

a is alpha_bar of the first step, n the Philox noise of step 0, made on the fly. The same pass writes the network's
input (y 3, mask 1, x 3) in its precision, or, for a network that takes x and the mask by themselves, the photo in
[-1, 1] alone. The two factors lie in device memory.
"""

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from shadowdiffusion.kernels.arguments import NETWORK_TYPES, dense, refuse, sized
from shadowdiffusion.kernels.noise import gaussian
from shadowdiffusion.kernels.variant import Variant

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 512


def reference(fresh: "Tensor", clean: "Tensor | None" = None, start: "Tensor | None" = None) -> "Tensor":
    """The state in plain PyTorch, in the type of `fresh`, the noise of step 0."""
    if clean is None or start is None:
        return fresh
    return start[0].to(fresh) * fresh + start[1].to(fresh) * (2 * clean.to(fresh) - 1)


@triton.jit
def first_value(n, clean, inside, start, FROM_PRIOR: tl.constexpr):
    """The state of one channel."""
    if FROM_PRIOR:
        signed = 2.0 * tl.load(clean, mask=inside, other=0.0) - 1.0
        return tl.load(start) * n + tl.load(start + 1) * signed
    else:
        return n


@triton.jit
def start_state_kernel(
    state,
    network,
    y,
    clean,
    mask,
    start,
    index,
    stream,
    plane,
    width,
    FROM_PRIOR: tl.constexpr,
    PACKED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program: BLOCK pixels of one image, all channels."""
    image = tl.program_id(1)
    first = image.to(tl.int64) * plane
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < plane
    whole = 3 * first + pixel

    n0, n1, n2 = gaussian(pixel, width, tl.load(index), image, stream)
    clean += whole
    x0 = first_value(n0, clean, inside, start, FROM_PRIOR)
    x1 = first_value(n1, clean + plane, inside, start, FROM_PRIOR)
    x2 = first_value(n2, clean + 2 * plane, inside, start, FROM_PRIOR)
    tl.store(state + whole, x0, mask=inside)
    tl.store(state + whole + plane, x1, mask=inside)
    tl.store(state + whole + 2 * plane, x2, mask=inside)

    target = network + whole
    if PACKED:
        target = network + 7 * first + pixel
        tl.store(target + 3 * plane, tl.load(mask + first + pixel, mask=inside, other=0.0), mask=inside)
        tl.store(target + 4 * plane, x0, mask=inside)
        tl.store(target + 5 * plane, x1, mask=inside)
        tl.store(target + 6 * plane, x2, mask=inside)
    source = y + whole
    tl.store(target, 2.0 * tl.load(source, mask=inside, other=0.0) - 1.0, mask=inside)
    tl.store(target + plane, 2.0 * tl.load(source + plane, mask=inside, other=0.0) - 1.0, mask=inside)
    tl.store(target + 2 * plane, 2.0 * tl.load(source + 2 * plane, mask=inside, other=0.0) - 1.0, mask=inside)


def start_state(
    state: "Tensor",
    network: "Tensor",
    y: "Tensor",
    mask: "Tensor",
    stream: "Tensor",
    index: "Tensor",
    prior: "tuple[Tensor, Tensor] | None" = None,
) -> "Tensor":
    """Fill state: float32[N, 3, H, W], and the network's input; returns the state.

    network: [N, 7, H, W] in float32, float16 or bfloat16, or float32[N, 3, H, W] for the photo alone. y: float32[N,
    3, H, W] in [0, 1]; mask: float32[N, 1, H, W]; stream: int64[N, 4] of `noise_stream`; index: int32[1] that holds
    0. prior: its image, float32[N, 3, H, W] in [0, 1], and float32[2], sqrt(1 - a) and sqrt(a); None = pure noise.
    Raises KernelError for tensors that `unsupported` names.
    """
    refuse(unsupported(state, network, y, mask, stream, index, prior))
    images, _, height, width = state.shape
    clean, start = prior or (y, y)
    start_state_kernel[(triton.cdiv(height * width, BLOCK), images)](
        state,
        network,
        y,
        clean,
        mask,
        start,
        index,
        stream,
        height * width,
        width,
        FROM_PRIOR=prior is not None,
        PACKED=network.shape[1] == 7,
        BLOCK=BLOCK,
        num_warps=4,
        enable_fp_fusion=False,
    )
    return state


def unsupported(
    state: "Tensor",
    network: "Tensor",
    y: "Tensor",
    mask: "Tensor",
    stream: "Tensor",
    index: "Tensor",
    prior: "tuple[Tensor, Tensor] | None" = None,
) -> str | None:
    """Why the kernel cannot run on these, or None."""
    if problem := sized("state", state, 3, bits=28):
        return problem
    images, _, height, width = state.shape
    shape, device = (images, 3, height, width), state.device
    packed = network.ndim == 4 and network.shape[1] == 7
    target = ((images, 7, height, width), *NETWORK_TYPES) if packed else (shape, "float32")
    problem = (
        dense("state", state, shape, "float32", device=device)
        or dense("network", network, *target, device=device)
        or dense("y", y, shape, "float32", device=device)
        or dense("mask", mask, (images, 1, height, width), "float32", device=device)
        or dense("stream", stream, (images, 4), "int64", device=device)
        or dense("index", index, (1,), "int32", device=device)
    )
    if problem or prior is None:
        return problem
    clean, start = prior
    return dense("clean", clean, shape, "float32", device=device) or dense(
        "start", start, (2,), "float32", device=device
    )


POINTERS = ("state", "network", "y", "clean", "mask", "start", "index", "stream")


def variants() -> list[Variant]:
    """`start_state_<target>[_prior]`, for planes of a multiple of 16 pixels.

    target: "packed_<fp32|fp16|bf16>", a whole input in that precision, or "photo", the photo alone. prior: from the
    prior's image instead of pure noise.
    """
    return [_variant(packed, from_prior) for packed in (None, "fp32", "fp16", "bf16") for from_prior in (False, True)]


def _variant(packed: str | None, from_prior: bool) -> Variant:
    types = dict.fromkeys(POINTERS, "*fp32") | {"network": f"*{packed or 'fp32'}", "index": "*i32", "stream": "*i64"}
    return Variant(
        f"start_state_{f'packed_{packed}' if packed else 'photo'}" + "_prior" * from_prior,
        start_state_kernel,
        types | {"plane": "i32", "width": "i32"},
        {"FROM_PRIOR": from_prior, "PACKED": packed is not None, "BLOCK": BLOCK},
        frozenset({*POINTERS, "plane"}),
        (f"ceil(plane / {BLOCK})", "images", "1"),
        4,
        56,
    )
