"""Fast guided upsampling: the log gain of a small image, carried to the full photo along the photo's own edges.

Fast guided filter (He & Sun, "Fast Guided Filter", 2015; He, Sun & Tang, ECCV 2010). With g the luminance of a
guide (BT.709 weights) and p one channel of the gain, both small, over the window of radius r around each pixel:

    a = cov(g, p) / (var(g) + eps),   b = mean(p) - a mean(g)       q = mean(a) G + mean(b)

where mean(a), mean(b) are averaged over the same windows, enlarged bilinearly with pixel centres aligned and edges
held, and applied to the luminance G of the full photo. Windows are cut at the border. Variance and covariance are
sums of products of differences from the window's mean, so that flat regions keep their digits.
"""

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from shadowdiffusion.kernels.arguments import NETWORK_TYPES, dense, pixel_stride, refuse, sized, strided

if TYPE_CHECKING:
    from torch import Tensor

SMALL_BLOCK, BLOCK = 128, 512
MOST_RADIUS = 16
RED, GREEN, BLUE = tl.constexpr(0.2126), tl.constexpr(0.7152), tl.constexpr(0.0722)


def reference(gain: "Tensor", guide: "Tensor", photo: "Tensor", radius: int, eps: float) -> "Tensor":
    """The enlarged gain in plain PyTorch, float64[N, 3, H, W]."""
    import torch
    import torch.nn.functional as F

    def window_mean(values: "Tensor") -> "Tensor":
        return F.avg_pool2d(values, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)

    weights = torch.tensor([0.2126, 0.7152, 0.0722], dtype=torch.float64, device=gain.device)[:, None, None]
    g, full = ((image.double() * weights).sum(dim=1, keepdim=True) for image in (guide, photo))
    p = gain.double()
    a = (window_mean(g * p) - window_mean(g) * window_mean(p)) / (window_mean(g * g) - window_mean(g) ** 2 + eps)
    b = window_mean(p) - a * window_mean(g)
    size = tuple(photo.shape[2:])
    wide_a, wide_b = (F.interpolate(window_mean(x), size, mode="bilinear", align_corners=False) for x in (a, b))
    return wide_a * full + wide_b


@triton.jit
def luminance(image, channel_stride, inside):
    """Luminance of the pixels that `image` points at."""
    red = tl.load(image, mask=inside, other=0.0).to(tl.float32)
    green = tl.load(image + channel_stride, mask=inside, other=0.0).to(tl.float32)
    blue = tl.load(image + 2 * channel_stride, mask=inside, other=0.0).to(tl.float32)
    return red * RED + green * GREEN + blue * BLUE  # the tensor first: Triton's interpreter wraps the other order


@triton.jit
def window_fit_kernel(fit, gain, guide, eps, height, width, radius, BLOCK: tl.constexpr):
    """One program: a and b of BLOCK small pixels of one image, three channels; two passes over their windows."""
    image = tl.program_id(1).to(tl.int64)
    plane = height * width
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < plane
    x, y = pixel % width, pixel // width
    p = gain + 3 * image * plane
    g = guide + 3 * image * plane
    count = tl.zeros((BLOCK,), tl.float32)
    mean_g = tl.zeros((BLOCK,), tl.float32)
    mean0, mean1, mean2 = mean_g, mean_g, mean_g
    place = 0
    side = 2 * radius + 1
    while place < side * side:
        at_x, at_y = x + place % side - radius, y + place // side - radius
        there = inside & (at_x >= 0) & (at_x < width) & (at_y >= 0) & (at_y < height)
        at = at_y * width + at_x
        count += there.to(tl.float32)
        mean_g += luminance(g + at, plane, there)
        mean0 += tl.load(p + at, mask=there, other=0.0)
        mean1 += tl.load(p + plane + at, mask=there, other=0.0)
        mean2 += tl.load(p + 2 * plane + at, mask=there, other=0.0)
        place += 1
    part = 1.0 / tl.maximum(count, 1.0)
    mean_g, mean0, mean1, mean2 = mean_g * part, mean0 * part, mean1 * part, mean2 * part
    variance = tl.zeros((BLOCK,), tl.float32)
    cov0, cov1, cov2 = variance, variance, variance
    place = 0
    while place < side * side:
        at_x, at_y = x + place % side - radius, y + place // side - radius
        there = inside & (at_x >= 0) & (at_x < width) & (at_y >= 0) & (at_y < height)
        at = at_y * width + at_x
        away = tl.where(there, luminance(g + at, plane, there) - mean_g, 0.0)
        variance += away * away
        cov0 += away * (tl.load(p + at, mask=there, other=0.0) - mean0)
        cov1 += away * (tl.load(p + plane + at, mask=there, other=0.0) - mean1)
        cov2 += away * (tl.load(p + 2 * plane + at, mask=there, other=0.0) - mean2)
        place += 1
    scale = tl.div_rn(part, variance * part + tl.load(eps))
    a0, a1, a2 = cov0 * scale, cov1 * scale, cov2 * scale
    target = fit + 6 * image * plane + pixel
    tl.store(target, a0, mask=inside)
    tl.store(target + plane, a1, mask=inside)
    tl.store(target + 2 * plane, a2, mask=inside)
    tl.store(target + 3 * plane, mean0 - a0 * mean_g, mask=inside)
    tl.store(target + 4 * plane, mean1 - a1 * mean_g, mask=inside)
    tl.store(target + 5 * plane, mean2 - a2 * mean_g, mask=inside)


@triton.jit
def window_mean_kernel(out, values, height, width, radius, BLOCK: tl.constexpr):
    """One program: BLOCK pixels of one plane, averaged over their windows."""
    plane = height * width
    base = tl.program_id(1).to(tl.int64) * plane
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < plane
    x, y = pixel % width, pixel // width
    count = tl.zeros((BLOCK,), tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    place = 0
    side = 2 * radius + 1
    while place < side * side:
        at_x, at_y = x + place % side - radius, y + place // side - radius
        there = inside & (at_x >= 0) & (at_x < width) & (at_y >= 0) & (at_y < height)
        count += there.to(tl.float32)
        total += tl.load(values + base + at_y * width + at_x, mask=there, other=0.0)
        place += 1
    tl.store(out + base + pixel, tl.div_rn(total, tl.maximum(count, 1.0)), mask=inside)


@triton.jit
def between(position, length, small):
    """The two small positions around a full one and the weight of the second."""
    centre = (position.to(tl.float32) + 0.5) * tl.div_rn(small.to(tl.float32), length.to(tl.float32)) - 0.5
    centre = tl.minimum(tl.maximum(centre, 0.0), (small - 1).to(tl.float32))
    first = centre.to(tl.int32)
    return first, tl.minimum(first + 1, small - 1), centre - first.to(tl.float32)


@triton.jit
def enlarged(plane, low, high, left, right, weight_y, weight_x, inside):
    """Bilinear value of a small plane; low, high: offsets of its two rows."""
    top_left = tl.load(plane + low + left, mask=inside, other=0.0)
    top = top_left + weight_x * (tl.load(plane + low + right, mask=inside, other=0.0) - top_left)
    bottom_left = tl.load(plane + high + left, mask=inside, other=0.0)
    bottom = bottom_left + weight_x * (tl.load(plane + high + right, mask=inside, other=0.0) - bottom_left)
    return top + weight_y * (bottom - top)


@triton.jit(do_not_specialize=("height", "width", "small_height", "small_width"))  # one pixel would be a constant
def guided_apply_kernel(
    out,
    fit,
    photo,
    height,
    width,
    plane,
    small_height,
    small_width,
    photo_image,
    photo_channel,
    photo_pixel,
    BLOCK: tl.constexpr,
):
    """One program: BLOCK pixels of one full photo, three channels."""
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < plane
    small = small_height * small_width
    left, right, weight_x = between(pixel % width, width, small_width)
    above, below, weight_y = between(pixel // width, height, small_height)
    low, high = above * small_width, below * small_width
    source = photo + image * photo_image + pixel.to(tl.int64) * photo_pixel
    light = luminance(source, photo_channel, inside)
    a = fit + 6 * image * small
    target = out + 3 * image * plane + pixel
    for channel in tl.static_range(3):
        slope = enlarged(a + channel * small, low, high, left, right, weight_y, weight_x, inside)
        base = enlarged(a + (3 + channel) * small, low, high, left, right, weight_y, weight_x, inside)
        tl.store(target + channel * plane, slope * light + base, mask=inside)


def guided_upsample(
    out: "Tensor", gain: "Tensor", guide: "Tensor", photo: "Tensor", eps: "Tensor", radius: int
) -> "Tensor":
    """Fill out: float32[N, 3, H, W], the enlarged log gain, and return it.

    gain: float32[N, 3, h, w]; guide: the degraded working image, float32[N, 3, h, w] in [0, 1]; photo: the
    full degraded photo, [N, 3, H, W] in [0, 1], float32, float16 or bfloat16, planes or channels-last, slices
    allowed; eps: float32[1], the variance of luminance below which the guide counts as flat; radius: of the
    window in small pixels, 1 to 16. Raises KernelError for tensors that `unsupported` names.
    """
    refuse(unsupported(out, gain, guide, photo, eps, radius))
    images, _, height, width = photo.shape
    small_height, small_width = gain.shape[2:]
    small_grid = triton.cdiv(small_height * small_width, SMALL_BLOCK)
    fit, smooth = (gain.new_empty(images, 6, small_height, small_width) for _ in range(2))
    small = {"BLOCK": SMALL_BLOCK, "num_warps": 4, "enable_fp_fusion": False}
    window_fit_kernel[(small_grid, images)](fit, gain, guide, eps, small_height, small_width, radius, **small)
    window_mean_kernel[(small_grid, 6 * images)](smooth, fit, small_height, small_width, radius, **small)
    guided_apply_kernel[(triton.cdiv(height * width, BLOCK), images)](
        out,
        smooth,
        photo,
        height,
        width,
        height * width,
        small_height,
        small_width,
        photo.stride(0),
        photo.stride(1),
        pixel_stride(photo),
        BLOCK=BLOCK,
        num_warps=4,
        enable_fp_fusion=False,
    )
    return out


def unsupported(
    out: "Tensor", gain: "Tensor", guide: "Tensor", photo: "Tensor", eps: "Tensor", radius: int
) -> str | None:
    """Why the kernels cannot run on these, or None."""
    if not 1 <= radius <= MOST_RADIUS:
        return f"radius {radius} is out of range: choose one from 1 to {MOST_RADIUS}"
    if problem := sized("photo", photo, 3) or sized("gain", gain, 3, bits=28, programs=6):
        return problem
    full = (photo.shape[0], 3, photo.shape[2], photo.shape[3])
    small = (photo.shape[0], 3, gain.shape[2], gain.shape[3])
    return (
        strided("photo", photo, full, *NETWORK_TYPES, device=photo.device)
        or dense("out", out, full, "float32", device=photo.device)
        or dense("gain", gain, small, "float32", device=photo.device)
        or dense("guide", guide, small, "float32", device=photo.device)
        or dense("eps", eps, (1,), "float32", device=photo.device)
    )
