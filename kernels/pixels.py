"""Photos as a camera stores them <-> planes as a network takes them.

    planes = v / whole           in [0, 1], or 2 v / whole - 1 in [-1, 1];  whole = 255 (uint8) or 65535 (uint16)
    w      = whole * clamp(planes, 0, 1)
    v      = round_half_even(w), or dithered floor(w) + (1 if u < w - floor(w) else 0)

`to_planes` also extends right and below to the network's padding multiple: mirrored without repeating the edge, or,
along an axis too short to mirror, the edge repeated. `to_pixels` crops that again and carries alpha over untouched.
Photos are interleaved [N, H, W, 3 or 4] with alpha last; planes are [N, 3, height, width].

Dither, for uint8, trades the steps in smooth gradients for white noise whose mean is w. It is rectangular, u being
uniform in [0, 1): a whole w, 0 and 255 among them, stays, so that what a restoration leaves alone keeps its bits;
triangular dither would put noise there too. u is Philox word c of the pixel for channel c, drawn as `noise` draws
step 2^32 - 1, which no sampler reaches: tiles agree with the whole.
"""

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from kernels.arguments import NETWORK_TYPES, dense, pixel_stride, refuse, sized, strided
from kernels.noise import reference_words, words
from kernels.variant import Variant

if TYPE_CHECKING:
    from torch import Tensor

WHOLE = {"uint8": 255, "uint16": 65535}
"""The integer that stands for 1, by pixel type."""
PLANE_BLOCK, PIXEL_BLOCK = 512, 2048
ROUND = tl.constexpr(8388608.0)  # 2^23: adding and subtracting it rounds a smaller float32 to an integer, half to even


def reference_planes(pixels: "Tensor", height: int, width: int, signed: bool) -> "Tensor":
    """`to_planes` in plain PyTorch, float64[N, 3, height, width]."""
    import torch

    whole = WHOLE[str(pixels.dtype).removeprefix("torch.")]
    index = []
    for length, padded in zip(pixels.shape[1:3], (height, width), strict=True):
        position = torch.arange(padded, device=pixels.device)
        mirrored = 2 * (length - 1) - position
        beyond = mirrored if padded - length < length else torch.full_like(position, length - 1)
        index.append(torch.where(position < length, position, beyond))
    planes = pixels[..., :3].to(torch.int32).permute(0, 3, 1, 2)[:, :, index[0]][..., index[1]].double() / whole
    return 2 * planes - 1 if signed else planes


def reference_pixels(planes: "Tensor", source: "Tensor", signed: bool, dither: "Tensor | None" = None) -> "Tensor":
    """`to_pixels` in plain PyTorch: the colours of `planes`, the size, type and alpha of `source`."""
    import torch

    height, width = source.shape[1:3]
    whole = WHOLE[str(source.dtype).removeprefix("torch.")]
    cropped = planes[:, :, :height, :width].float()
    values = ((cropped + 1) * 0.5 if signed else cropped).clamp(0, 1).nan_to_num(0) * whole
    if dither is None:
        values = values.round()
    else:
        uniform = torch.stack(reference_words(dither.cpu(), -1, height, width)[:3], dim=1) >> 8
        values = values.floor() + (uniform.to(values) * 2.0**-24 < values.frac())
    colours = values.to(torch.int32).permute(0, 2, 3, 1).to(source.dtype)
    return torch.cat((colours, source[..., 3:]), dim=3)


@triton.jit
def mirrored(position, length, padded):
    """Which of `length` values stands at a position of the `padded` ones."""
    beyond = tl.where(padded - length < length, 2 * (length - 1) - position, length - 1)
    return tl.where(position < length, position, beyond)


@triton.jit
def to_planes_kernel(
    planes,
    pixels,
    image_height,
    image_width,
    height,
    width,
    plane,
    CHANNELS: tl.constexpr,
    WHOLE: tl.constexpr,
    SIGNED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program: BLOCK places of one padded image, three channels."""
    image = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = place < plane
    x = mirrored(place % width, image_width, width)
    y = mirrored(place // width, image_height, height)
    source = pixels + CHANNELS * (image * image_height * image_width + y.to(tl.int64) * image_width + x)
    target = planes + 3 * image * plane + place
    for channel in tl.static_range(3):
        value = tl.div_rn(tl.load(source + channel, mask=inside, other=0).to(tl.float32), WHOLE)
        if SIGNED:
            value = 2.0 * value - 1.0
        tl.store(target + channel * plane, value.to(planes.dtype.element_ty), mask=inside)


@triton.jit
def to_pixels_kernel(
    pixels,
    planes,
    source,
    image_height,
    image_width,
    width,
    planes_image,
    planes_channel,
    planes_pixel,
    stream,
    CHANNELS: tl.constexpr,
    WHOLE: tl.constexpr,
    SIGNED: tl.constexpr,
    DITHER: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program: BLOCK consecutive components of one image as it is stored, so that it writes whole words."""
    image = tl.program_id(1).to(tl.int64)
    count = image_height * image_width * CHANNELS
    component = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = component < count
    channel = component % CHANNELS
    pixel = component // CHANNELS
    place = (pixel // image_width).to(tl.int64) * width + pixel % image_width
    offset = image * planes_image + channel.to(tl.int64) * planes_channel + place * planes_pixel
    value = tl.load(planes + offset, mask=inside & (channel < 3), other=0.0).to(tl.float32)
    if SIGNED:
        value = (value + 1.0) * 0.5
    value = tl.minimum(tl.maximum(value, 0.0), 1.0) * WHOLE
    if DITHER:
        r0, r1, r2, _ = words(pixel, image_width, tl.full((), 0xFFFFFFFF, tl.uint32), tl.program_id(1), stream)
        word = tl.where(channel == 0, r0, tl.where(channel == 1, r1, r2))
        below = tl.floor(value)
        value = below + ((word >> 8).to(tl.float32) * 5.9604644775390625e-8 < value - below).to(tl.float32)
    else:
        value = (value + ROUND) - ROUND
    value = value.to(tl.int32).to(pixels.dtype.element_ty)
    stored = image * count + component
    if CHANNELS == 4:
        value = tl.where(channel < 3, value, tl.load(source + stored, mask=inside & (channel == 3), other=0))
    tl.store(pixels + stored, value, mask=inside)


def to_planes(planes: "Tensor", pixels: "Tensor", *, signed: bool = False) -> "Tensor":
    """Fill planes: [N, 3, height, width], float32, float16 or bfloat16, contiguous, and return it.

    pixels: uint8 or uint16[N, H, W, 3 or 4], contiguous, H <= height, W <= width; alpha is not read. signed:
    [-1, 1] instead of [0, 1]. Raises KernelError for tensors that `unsupported_planes` names.
    """
    refuse(unsupported_planes(planes, pixels))
    images, _, height, width = planes.shape
    to_planes_kernel[(triton.cdiv(height * width, PLANE_BLOCK), images)](
        planes,
        pixels,
        pixels.shape[1],
        pixels.shape[2],
        height,
        width,
        height * width,
        CHANNELS=pixels.shape[3],
        WHOLE=WHOLE[str(pixels.dtype).removeprefix("torch.")],
        SIGNED=signed,
        BLOCK=PLANE_BLOCK,
        num_warps=4 if planes.element_size() == 4 else 2,
        enable_fp_fusion=False,
    )
    return planes


def to_pixels(
    pixels: "Tensor", planes: "Tensor", source: "Tensor", *, signed: bool = False, dither: "Tensor | None" = None
) -> "Tensor":
    """Fill pixels: uint8 or uint16[N, H, W, 3 or 4], contiguous, and return it.

    planes: [N, 3, height >= H, width >= W] in [0, 1], or [-1, 1] if signed, beyond which values are clamped and
    NaN becomes black; float32, float16 or bfloat16, planes or channels-last, slices allowed. source: the photo
    whose alpha is carried over, like `pixels` and possibly the same memory. dither: int64[N, 4] of
    `noise_stream`, for uint8; None = round. Raises KernelError for tensors that `unsupported_pixels` names.
    """
    refuse(unsupported_pixels(pixels, planes, source, dither))
    images, height, width, channels = pixels.shape
    to_pixels_kernel[(triton.cdiv(height * width * channels, PIXEL_BLOCK), images)](
        pixels,
        planes,
        source,
        height,
        width,
        planes.shape[3],
        planes.stride(0),
        planes.stride(1),
        pixel_stride(planes),
        0 if dither is None else dither,
        CHANNELS=channels,
        WHOLE=WHOLE[str(pixels.dtype).removeprefix("torch.")],
        SIGNED=signed,
        DITHER=dither is not None,
        BLOCK=PIXEL_BLOCK,
        num_warps=4,
        enable_fp_fusion=False,
    )
    return pixels


def unsupported_planes(planes: "Tensor", pixels: "Tensor") -> str | None:
    """Why `to_planes` cannot run on these, or None."""
    return _unsupported_photo(pixels, planes) or dense(
        "planes", planes, (pixels.shape[0], 3, *planes.shape[2:]), *NETWORK_TYPES, device=pixels.device
    )


def unsupported_pixels(
    pixels: "Tensor", planes: "Tensor", source: "Tensor", dither: "Tensor | None" = None
) -> str | None:
    """Why `to_pixels` cannot run on these, or None."""
    kind = str(pixels.dtype).removeprefix("torch.")
    if dither is not None and kind != "uint8":
        return f"dither is for uint8: {kind} pixels need none"
    return (
        _unsupported_photo(pixels, planes)
        or dense("source", source, tuple(pixels.shape), kind, device=pixels.device)
        or strided("planes", planes, (len(pixels), 3, *planes.shape[2:]), *NETWORK_TYPES, device=pixels.device)
        or (None if dither is None else dense("dither", dither, (len(pixels), 4), "int64", device=pixels.device))
    )


def _unsupported_photo(pixels: "Tensor", planes: "Tensor") -> str | None:
    if pixels.ndim != 4 or pixels.shape[3] not in (3, 4) or pixels.numel() == 0 or pixels.numel() >= 1 << 31:
        return f"pixels have shape {tuple(pixels.shape)}: it must be [N, H, W, 3 or 4], not empty, below 2^31 values"
    height, width = pixels.shape[1:3]
    if planes.ndim != 4 or planes.shape[2] < height or planes.shape[3] < width:
        return f"planes have shape {tuple(planes.shape)}, too small for {height} rows of {width} pixels"
    return sized("planes", planes, 3) or dense("pixels", pixels, tuple(pixels.shape), *WHOLE, device=pixels.device)


def variants() -> list[Variant]:
    """To planes in [0, 1] for a network of any precision, and back from a float32 state or image.

    `to_planes_<precision>_<photo>`: planes fp32, fp16 or bf16, of a multiple of 16 pixels; photo u8 or u16, x3
    or x4 with alpha. `to_pixels_fp32_<photo>[_signed][_dither][_any]`: signed: from [-1, 1]; dither: for u8;
    any: for photos whose width is no multiple of 16.
    """
    photos = [(pixel, channels) for pixel in ("u8", "u16") for channels in (3, 4)]
    there = [_planes(kind, *photo) for kind in ("fp32", "fp16", "bf16") for photo in photos]
    back = [
        _pixels(*photo, signed, dither, aligned)
        for dither in (False, True)
        for signed in (False, True)
        for aligned in (True, False)
        for photo in photos
        if photo[0] == "u8" or not dither
    ]
    return there + back


def _constants(pixel: str, channels: int, signed: bool) -> dict[str, int | bool]:
    return {"CHANNELS": channels, "WHOLE": 255 if pixel == "u8" else 65535, "SIGNED": signed}


def _planes(kind: str, pixel: str, channels: int) -> Variant:
    types = {"planes": f"*{kind}", "pixels": f"*{pixel}"}
    types |= dict.fromkeys(("image_height", "image_width", "height", "width", "plane"), "i32")
    return Variant(
        f"to_planes_{kind}_{pixel}x{channels}",
        to_planes_kernel,
        types,
        _constants(pixel, channels, False) | {"BLOCK": PLANE_BLOCK},
        frozenset({"planes", "pixels", "plane"}),
        (f"ceil(plane / {PLANE_BLOCK})", "images", "1"),
        4 if kind == "fp32" else 2,
        48,
        wide=frozenset({"stores"}),
    )


def _pixels(pixel: str, channels: int, signed: bool, dither: bool, aligned: bool) -> Variant:
    types = {"pixels": f"*{pixel}", "planes": "*fp32", "source": f"*{pixel}"}
    types |= {"stream": "*i64"} if dither else {}
    numbers = ("image_height", "image_width", "width", "planes_image", "planes_channel")
    constants = _constants(pixel, channels, signed) | {"planes_pixel": 1, "DITHER": dither, "BLOCK": PIXEL_BLOCK}
    name = f"to_pixels_fp32_{pixel}x{channels}" + "_signed" * signed + "_dither" * dither + "_any" * (not aligned)
    return Variant(
        name,
        to_pixels_kernel,
        types | dict.fromkeys(numbers, "i32"),
        constants if dither else constants | {"stream": 0},
        frozenset({*types, "image_width"} if aligned else types),
        (f"ceil(image_height * image_width * {channels} / {PIXEL_BLOCK})", "images", "1"),
        4,
        80 if not dither else 96 if aligned else 168,
        wide=frozenset({"stores"} if aligned else ()),
    )
