"""Counter-based Gaussian noise: every pixel's value depends only on (seed, step, image, y, x).

Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011) with counter (x, y, step,
image) and the 64-bit seed as key, then Box-Muller in float32:

    u = ((word >> 8) + 1/2) / 2^24
    n_0 = sqrt(-2 ln u_0) cos(2 pi u_1),  n_1 = sqrt(-2 ln u_0) sin(2 pi u_1),  n_2 = sqrt(-2 ln u_2) cos(2 pi u_3)

The words are those of every other backend, and a tile gets the noise of that region of the whole. What a
captured CUDA graph may want to change lies in device memory: `index`, the step, and `stream` = int64[N, 4], a
row (seed, image, top, left) for each image of the batch, which therefore gets the noise it would get alone.
"""

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from shadowdiffusion.kernels.errors import KernelError

if TYPE_CHECKING:
    from torch import Tensor, device

TWO_PI = tl.constexpr(6.2831855)  # float32(2 pi), as in every backend
TWO_OVER_PI = tl.constexpr(0.63661975)
# pi/2 in three parts; multiples of the first two by up to 4 are exact in float32 (Cody and Waite, 1980)
HALF_PI_1 = tl.constexpr(1.5703125)
HALF_PI_2 = tl.constexpr(0.0004837512969970703125)
HALF_PI_3 = tl.constexpr(7.549789948768648e-8)


def noise_stream(seed: int, *, image: int = 0, top: int = 0, left: int = 0, on: "device | str" = "cpu") -> "Tensor":
    """int64[1, 4], the noise of one image: its seed and number, and (top, left), the region's first pixel.

    A batch takes the rows of its images, concatenated. Raises KernelError for a seed outside [0, 2**64).
    """
    import torch

    if not 0 <= seed < 1 << 64:
        raise KernelError(f"seed {seed} is out of range: choose one from 0 to 2**64 - 1")
    signed = seed - (1 << 64) if seed >> 63 else seed  # the same 64 bits
    return torch.tensor([[signed, image, top, left]], dtype=torch.int64, device=on)


def reference(stream: "Tensor", step: int, shape: tuple[int, int, int, int]) -> "Tensor":
    """The noise in plain PyTorch, float64[N, 3, H, W]: Box-Muller in float64 from the float32 u and angle."""
    import torch

    u = [((word >> 8).float() + 0.5) * 2.0**-24 for word in reference_words(stream, step, *shape[2:])]
    radius = [torch.sqrt(-2 * torch.log(value.double())) for value in (u[0], u[2])]
    angle = [(value * 6.2831855).double() for value in (u[1], u[3])]
    normals = [radius[0] * angle[0].cos(), radius[0] * angle[0].sin(), radius[1] * angle[1].cos()]
    return torch.stack(normals, dim=1)


def reference_words(stream: "Tensor", step: int, height: int, width: int) -> tuple["Tensor", ...]:
    """The four words of every pixel in plain PyTorch, int64[N, H, W] each."""
    import torch

    def product(factor: int, word: "Tensor") -> tuple["Tensor", "Tensor"]:
        low, high = (word & 0xFFFF) * factor, (word >> 16) * factor  # each below 2^48
        middle = high + (low >> 16)
        return middle >> 16, (middle & 0xFFFF) << 16 | low & 0xFFFF

    seed, image, top, left = stream[:, :, None, None].expand(-1, -1, height, width).unbind(1)
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
    c0, c1 = (left + torch.arange(width)) & 0xFFFFFFFF, (top + torch.arange(height)[:, None]) & 0xFFFFFFFF
    c2, c3 = torch.full_like(image, step & 0xFFFFFFFF), image & 0xFFFFFFFF
    for _ in range(10):
        high0, low0 = product(0xD2511F53, c0)
        high1, low1 = product(0xCD9E8D57, c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


@triton.jit
def cosine_and_sine(angle):
    """Both for 0 <= angle <= 2 pi, to 1e-7; the general functions would need local memory for huge angles."""
    quarter = tl.floor(angle * TWO_OVER_PI + 0.5)
    r = ((angle - quarter * HALF_PI_1) - quarter * HALF_PI_2) - quarter * HALF_PI_3
    s = r * r
    # Taylor polynomials: |r| <= pi/4, where the first term left out is below 3e-9
    sine = r + r * s * (-1.6666667e-1 + s * (8.3333333e-3 + s * (-1.9841270e-4 + s * 2.7557319e-6)))
    cosine = 1.0 - s * (0.5 - s * (4.1666668e-2 - s * (1.3888889e-3 - s * (2.4801587e-5 - s * 2.7557319e-7))))
    turn = quarter.to(tl.int32) & 3
    swap = (turn & 1) == 1
    c = tl.where(swap, sine, cosine)
    s = tl.where(swap, cosine, sine)
    return tl.where((turn == 1) | (turn == 2), -c, c), tl.where(turn >= 2, -s, s)


@triton.jit
def unit(word):
    """uint32 -> float32 in (0, 1], never 0, so that the logarithm is finite."""
    return ((word >> 8).to(tl.float32) + 0.5) * 5.9604644775390625e-8


@triton.jit
def words(pixel, width, step, image, stream):
    """Four random words for each pixel (reading order, `width` per row) of one image of the batch."""
    row = stream + image * 4
    x = (pixel % width + tl.load(row + 3).to(tl.int32)).to(tl.uint32)
    y = (pixel // width + tl.load(row + 2).to(tl.int32)).to(tl.uint32)
    step, number = tl.zeros_like(x) + step.to(tl.uint32), tl.zeros_like(x) + tl.load(row + 1).to(tl.uint32)
    return tl.philox(tl.load(row), x, y, step, number)


@triton.jit
def gaussian(pixel, width, step, image, stream):
    """Three standard normal deviates for each pixel, as `words`."""
    r0, r1, r2, r3 = words(pixel, width, step, image, stream)
    radius = tl.sqrt_rn(tl.abs(-2.0 * tl.log(unit(r0))))  # abs: u = 1 gives -0
    cosine, sine = cosine_and_sine(unit(r1) * TWO_PI)
    last, _ = cosine_and_sine(unit(r3) * TWO_PI)
    return radius * cosine, radius * sine, tl.sqrt_rn(tl.abs(-2.0 * tl.log(unit(r2)))) * last
