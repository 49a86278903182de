"""Noise: published Philox vectors, the runtime's stream, tiles, and every element written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from shadowdiffusion.kernels.errors import KernelError
from shadowdiffusion.kernels.noise import cosine_and_sine, noise_stream, reference
from shadowdiffusion.kernels.start_state import start_state
from shadowdiffusion.runtime.loop.noise import gaussian, philox
from tests.kernels.buffers import SHAPES, Guarded, number


@triton.jit
def words_kernel(out, counters, seed):
    lane = tl.arange(0, 4)
    c0, c1 = tl.load(counters + lane).to(tl.uint32), tl.load(counters + 4 + lane).to(tl.uint32)
    c2, c3 = tl.load(counters + 8 + lane).to(tl.uint32), tl.load(counters + 12 + lane).to(tl.uint32)
    r0, r1, r2, r3 = tl.philox(tl.load(seed), c0, c1, c2, c3)
    tl.store(out + lane, r0.to(tl.int64))
    tl.store(out + 4 + lane, r1.to(tl.int64))
    tl.store(out + 8 + lane, r2.to(tl.int64))
    tl.store(out + 12 + lane, r3.to(tl.int64))


@triton.jit
def circle_kernel(out, angle, count, BLOCK: tl.constexpr):
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    c, s = cosine_and_sine(tl.load(angle + lane, mask=lane < count, other=0.0))
    tl.store(out + lane, c, mask=lane < count)
    tl.store(out + count + lane, s, mask=lane < count)


def noise(out: torch.Tensor, stream: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Fill out: float32[N, 3, H, W] with the noise of a step: the first state without a prior."""
    photo = torch.zeros_like(out)
    return start_state(out, torch.empty_like(out), photo, photo[:, :1].contiguous(), stream, index)


def words(counter: Sequence[tuple[int, ...]], seed: int, device: torch.device) -> list[tuple[int, ...]]:
    """Philox words of four counters."""
    out = torch.zeros(4, 4, dtype=torch.int64, device=device)
    counters = torch.tensor(counter, dtype=torch.int64, device=device).T.contiguous()
    words_kernel[(1,)](out, counters, noise_stream(seed, on=device))
    return [tuple(row) for row in (out.T & 0xFFFFFFFF).tolist()]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # Random123's known answers
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_vectors(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...], device: torch.device
) -> None:
    assert words([counter] * 4, key[1] << 32 | key[0], device) == [expected] * 4


def test_philox_gives_the_words_of_the_runtime(device: torch.device) -> None:
    counters = [(0, 0, 0, 0), (511, 3, 1, 0), (4095, 4095, 25, 7), (2**31, 1, 2**32 - 1, 9)]
    seed = 0xFEDCBA9876543210
    columns = [np.array(column, np.uint32) for column in zip(*counters, strict=True)]
    expected = philox((columns[0], columns[1], columns[2], columns[3]), (seed & 0xFFFFFFFF, seed >> 32))
    assert words(counters, seed, device) == [tuple(int(word[i]) for word in expected) for i in range(4)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("seed", "step"), [(0, 0), (2**64 - 1, 3)])
def test_noise_is_that_of_the_runtime_to_1e_6(
    shape: tuple[int, int, int], seed: int, step: int, device: torch.device
) -> None:
    images, height, width = shape
    full = (images, 3, height, width)
    out = Guarded(full, device)
    stream = torch.cat([noise_stream(seed, image=4 + i, top=5, left=1000, on=device) for i in range(images)])
    noise(out.tensor, stream, number(step, device))
    twin = [gaussian(height, width, seed=seed, step=step, image=4 + i, top=5, left=1000) for i in range(images)]
    torch.testing.assert_close(out.written(), torch.from_numpy(np.stack(twin)).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(out.written(), reference(stream.cpu(), step, full), rtol=0, atol=1e-6)


def test_a_tile_gets_the_noise_of_its_region(device: torch.device) -> None:
    whole, tile = torch.empty(1, 3, 20, 30, device=device), torch.empty(1, 3, 9, 11, device=device)
    noise(whole, noise_stream(8, on=device), number(2, device))
    noise(tile, noise_stream(8, top=6, left=17, on=device), number(2, device))
    assert torch.equal(whole[:, :, 6:15, 17:28], tile)


def test_images_of_a_batch_get_the_noise_they_would_get_alone(device: torch.device) -> None:
    streams = [
        noise_stream(8, on=device),
        noise_stream(8, on=device),
        noise_stream(2**63 + 5, image=3, top=700, left=2, on=device),
    ]
    batch = noise(torch.empty(3, 3, 6, 11, device=device), torch.cat(streams), number(2, device))
    for image, stream in zip(batch, streams, strict=True):
        alone = noise(torch.empty(1, 3, 6, 11, device=device), stream, number(2, device))
        assert torch.equal(alone[0], image)
    assert torch.equal(batch[0], batch[1])
    assert not torch.equal(batch[0], batch[2])


def test_cosine_and_sine_are_accurate_around_the_whole_circle(device: torch.device) -> None:
    angle = torch.linspace(0, 2 * np.pi, 4097, dtype=torch.float64).float().clamp(max=6.2831855)
    out = torch.empty(2, 4097, device=device)
    circle_kernel[(5,)](out, angle.to(device), 4097, BLOCK=1024, enable_fp_fusion=False)
    expected = torch.stack((angle.double().cos(), angle.double().sin()))
    torch.testing.assert_close(out.double().cpu(), expected, rtol=0, atol=1.2e-7)


def test_a_seed_of_more_than_64_bits_is_refused() -> None:
    for seed in (-1, 1 << 64):
        with pytest.raises(KernelError, match=f"seed {seed} is out of range"):
            noise_stream(seed)
