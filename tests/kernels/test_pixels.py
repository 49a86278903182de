"""Photos to planes and back: sizes, types, padding, alpha, rounding; every element written."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernels.errors import KernelError
from kernels.pixels import WHOLE, reference_pixels, reference_planes, to_pixels, to_planes
from runtime.photo import unit_floats
from tests.kernels.buffers import MARGIN, SENTINEL, TYPES, Guarded, arranged, random

SIZES = [((1, 1), (1, 1)), ((1, 1), (8, 8)), ((7, 5), (8, 8)), ((3, 20), (8, 24)), ((16, 32), (16, 32))]
ROUNDING = {torch.float32: 1e-7, torch.float16: 5e-4, torch.bfloat16: 8e-3}  # bfloat16: the interpreter truncates


def photo(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, seed: int = 0) -> torch.Tensor:
    whole = WHOLE[str(dtype).removeprefix("torch.")]
    values = np.random.default_rng(seed).integers(0, whole, shape, endpoint=True)
    return torch.from_numpy(values.astype(str(dtype).removeprefix("torch."))).to(device)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("kind", [torch.uint8, torch.uint16])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("size", "padded"), SIZES)
def test_planes_follow_the_reference(
    size: tuple[int, int],
    padded: tuple[int, int],
    dtype: torch.dtype,
    kind: torch.dtype,
    channels: int,
    signed: bool,
    device: torch.device,
) -> None:
    pixels = photo((2, *size, channels), kind, device)
    planes = Guarded((2, 3, *padded), device, dtype)
    to_planes(planes.tensor, pixels, signed=signed)
    expected = reference_planes(pixels, *padded, signed).cpu()
    torch.testing.assert_close(planes.written(), expected, rtol=ROUNDING[dtype], atol=1.2e-7)


@pytest.mark.parametrize("kind", [torch.uint8, torch.uint16])
def test_planes_have_the_bits_and_the_padding_of_the_runtime(kind: torch.dtype, device: torch.device) -> None:
    pixels = photo((1, 9, 3, 3), kind, device)
    planes = torch.empty(1, 3, 16, 8, device=device)
    to_planes(planes, pixels)
    whole = unit_floats(pixels[0].cpu().numpy()).transpose(2, 0, 1)[None]
    tall = np.pad(whole, [(0, 0), (0, 0), (0, 7), (0, 0)], mode="reflect")
    wide = np.pad(tall, [(0, 0), (0, 0), (0, 0), (0, 5)], mode="edge")  # three columns cannot mirror five
    np.testing.assert_array_equal(planes.cpu().numpy(), wide)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("kind", [torch.uint8, torch.uint16])
@pytest.mark.parametrize("layout", ["nchw", "nhwc", "slice"])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("size", "padded"), SIZES)
def test_pixels_equal_the_reference_and_keep_alpha(
    size: tuple[int, int],
    padded: tuple[int, int],
    dtype: torch.dtype,
    layout: str,
    kind: torch.dtype,
    channels: int,
    signed: bool,
    device: torch.device,
) -> None:
    values = random((2, 3, *padded), device, 1) * 1.4 - 0.2  # some beyond the range
    planes = arranged(2 * values - 1 if signed else values, layout, dtype)
    source = photo((2, *size, channels), kind, device)
    for poison in (0, 255):  # whatever was there is overwritten
        buffer = torch.full((source.numel() + 2 * MARGIN,), SENTINEL, dtype=torch.int32, device=device).to(kind)
        pixels = buffer[MARGIN:-MARGIN].view(source.shape)
        pixels.copy_(torch.full(source.shape, poison, dtype=torch.int32, device=device).to(kind))
        to_pixels(pixels, planes, source, signed=signed)
        expected = reference_pixels(planes, source, signed)
        assert torch.equal(pixels.int(), expected.int())
        assert bool((buffer.int()[:MARGIN] == SENTINEL).all())
        assert bool((buffer.int()[-MARGIN:] == SENTINEL).all())


@pytest.mark.parametrize("kind", [torch.uint8, torch.uint16])
def test_a_photo_survives_the_round_trip(kind: torch.dtype, device: torch.device) -> None:
    source = photo((1, 13, 11, 4), kind, device)
    planes = to_planes(torch.empty(1, 3, 16, 16, device=device), source)
    assert torch.equal(to_pixels(torch.zeros_like(source), planes, source).int(), source.int())


def test_a_wrong_call_says_what_is_wrong(device: torch.device) -> None:
    pixels, planes = photo((1, 4, 6, 3), torch.uint8, device), torch.empty(1, 3, 8, 8, device=device)
    with pytest.raises(KernelError, match="too small for 4 rows of 6 pixels"):
        to_planes(torch.empty(1, 3, 8, 5, device=device), pixels)
    with pytest.raises(KernelError, match=r"pixels is torch\.int32"):
        to_planes(planes, pixels.int())
    with pytest.raises(KernelError, match=r"source has shape \(1, 4, 6, 4\)"):
        to_pixels(pixels, planes, photo((1, 4, 6, 4), torch.uint8, device))
    with pytest.raises(KernelError, match=r"must be \[N, H, W, 3 or 4\]"):
        to_planes(planes, pixels[..., :2])
