"""Photos to planes and back: sizes, types, padding, alpha, rounding; every element written."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels.errors import KernelError
from kernels.noise import noise_stream, reference_words
from kernels.pixels import WHOLE, reference_pixels, reference_planes, to_pixels, to_planes
from runtime.photo import unit_floats
from tests.kernels.buffers import MARGIN, SENTINEL, TYPES, Guarded, arranged, random

SIZES = [
    ((1, 1), (1, 1)),
    ((1, 1), (8, 8)),
    ((7, 5), (8, 8)),
    ((3, 20), (8, 24)),
    ((16, 32), (16, 32)),
    ((45, 61), (48, 64)),
]
"""of the photo and padded: one pixel, too short to mirror, odd, whole blocks, several blocks"""
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


def check_pixels(
    size: tuple[int, int],
    padded: tuple[int, int],
    kind: torch.dtype,
    channels: int,
    signed: bool,
    dtype: torch.dtype,
    layout: str,
    dither: torch.Tensor | None,
    device: torch.device,
) -> None:
    """Every component equals the reference and nothing around them is written."""
    values = random((2, 3, *padded), device, 1) * 1.4 - 0.2  # some beyond the range
    planes = arranged(2 * values - 1 if signed else values, layout, dtype)
    source = photo((2, *size, channels), kind, device)
    expected = reference_pixels(planes, source, signed, dither)
    for poison in (0, 255):  # whatever was there is overwritten
        buffer = torch.full((source.numel() + 2 * MARGIN,), SENTINEL, dtype=torch.int32, device=device).to(kind)
        pixels = buffer[MARGIN:-MARGIN].view(source.shape)
        pixels.copy_(torch.full(source.shape, poison, dtype=torch.int32, device=device).to(kind))
        to_pixels(pixels, planes, source, signed=signed, dither=dither)
        assert torch.equal(pixels.int(), expected.int())
        assert bool((buffer.int()[:MARGIN] == SENTINEL).all())
        assert bool((buffer.int()[-MARGIN:] == SENTINEL).all())


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
    check_pixels(size, padded, kind, channels, signed, dtype, layout, None, device)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(("size", "padded"), SIZES)
def test_dithered_pixels_equal_the_reference_and_keep_alpha(
    size: tuple[int, int], padded: tuple[int, int], channels: int, signed: bool, device: torch.device
) -> None:
    dither = torch.cat([noise_stream(7, image=i, top=i, on=device) for i in range(2)])
    check_pixels(size, padded, torch.uint8, channels, signed, torch.float32, "nchw", dither, device)


@pytest.mark.parametrize(("kind", "dithered"), [(torch.uint8, False), (torch.uint16, False), (torch.uint8, True)])
def test_a_photo_survives_the_round_trip(kind: torch.dtype, dithered: bool, device: torch.device) -> None:
    source = torch.arange(16 * 16 * 4, device=device).reshape(1, 16, 16, 4).to(kind)  # every 8-bit value
    planes = to_planes(torch.empty(1, 3, 16, 16, device=device), source)
    dither = noise_stream(3, on=device) if dithered else None
    assert torch.equal(to_pixels(torch.zeros_like(source), planes, source, dither=dither).int(), source.int())


def dithered(planes: torch.Tensor, stream: torch.Tensor) -> torch.Tensor:
    """uint8 colours of planes in [0, 1] as float64[N, 3, H, W] on the CPU."""
    source = torch.zeros((len(planes), *planes.shape[2:], 3), dtype=torch.uint8, device=planes.device)
    return to_pixels(source, planes, source, dither=stream).permute(0, 3, 1, 2).double().cpu()


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the device stays the same
)
@given(value=st.floats(0, 1, width=32), seed=st.integers(0, 2**64 - 1))
def test_dither_keeps_the_mean_and_stays_within_a_step(value: float, seed: int, device: torch.device) -> None:
    found = dithered(torch.full((1, 3, 32, 64), value, device=device), noise_stream(seed, on=device))
    exact = 255 * value
    assert float((found - exact).abs().max()) < 1
    part = exact - int(exact)
    spread = (part * (1 - part) / (32 * 64)) ** 0.5
    assert float((found.mean(dim=(0, 2, 3)) - exact).abs().max()) <= 5 * spread + 1e-4  # of each channel


def test_dither_leaves_black_and_white_alone(device: torch.device) -> None:
    planes = torch.tensor([0.0, 1.7, -0.3, 1.0], device=device).repeat(1, 3, 16, 4)
    stream = noise_stream(0, top=1250, left=816, on=device)
    assert reference_words(stream.cpu(), -1, 16, 16)[0][0, 3, 3] >> 8 == 0  # even where u is exactly 0
    assert torch.equal(dithered(planes, stream), (255 * planes.clamp(0, 1)).double().cpu())


def test_dither_is_the_same_for_a_tile_and_alone_but_not_for_channels_and_photos(device: torch.device) -> None:
    planes = torch.full((2, 3, 20, 30), 0.3, device=device)
    whole = dithered(planes, torch.cat([noise_stream(8, on=device), noise_stream(8, image=1, on=device)]))
    tile = dithered(planes[:1, :, :9, :11].contiguous(), noise_stream(8, top=6, left=17, on=device))
    assert torch.equal(whole[:1, :, 6:15, 17:28], tile)
    assert torch.equal(whole[1:], dithered(planes[1:], noise_stream(8, image=1, on=device)))
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(whole[0, 0], whole[0, 1])
    assert not torch.equal(whole[0, 1], whole[0, 2])


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # the interpreter keeps NaN until there
def test_what_is_no_number_becomes_black(device: torch.device) -> None:
    planes = torch.full((1, 3, 4, 4), float("nan"), device=device)
    source = torch.full((1, 4, 4, 3), 9, dtype=torch.uint8, device=device)
    assert not to_pixels(torch.ones_like(source), planes, source).any()
    assert not to_pixels(torch.ones_like(source), planes, source, dither=noise_stream(0, on=device)).any()


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
    wide = photo((1, 4, 6, 3), torch.uint16, device)
    with pytest.raises(KernelError, match="dither is for uint8: uint16 pixels need none"):
        to_pixels(wide, planes, wide, dither=noise_stream(0, on=device))
    with pytest.raises(KernelError, match=r"dither has shape \(2, 4\), not \(1, 4\)"):
        to_pixels(pixels, planes, pixels, dither=noise_stream(0, on=device).repeat(2, 1))
