"""What `variants` says of a kernel is what the launcher launches: types, constants, multiples, grid and warps.

Launchers are called as a variant's name reads, with the kernels replaced by one that only notes how it is launched.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from kernels.ahead_of_time import all_variants
from kernels.confident_mask import confident_mask
from kernels.group_norm_silu import group_norm_silu
from kernels.guided_upsample import guided_upsample
from kernels.mask_update import confident_depth, mask_update
from kernels.noise import noise, noise_stream
from kernels.pixels import to_pixels, to_planes
from kernels.prior_coefficients import illumination_limits, prior_coefficients
from kernels.prior_step import Prediction, prior_step
from kernels.start_state import start_state
from kernels.variant import Variant
from tests.kernels.buffers import arranged, number

VARIANTS = {variant.name: variant for variant in all_variants()}
KINDS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, "u8": torch.uint8, "u16": torch.uint16}
KINDS |= {"i32": torch.int32, "i64": torch.int64}
CPU = torch.device("cpu")
N = 2


@dataclass
class Launch:
    """How a kernel was launched: its arguments and options by name."""

    grid: tuple[int, ...]
    values: dict[str, Any]


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Launch]:
    """The launch of every kernel that runs, by kernel."""
    noted: dict[Any, Launch] = {}

    class Noting:
        def __init__(self, kernel: Any) -> None:
            self.kernel = kernel

        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            def note(*arguments: Any, **options: Any) -> None:
                named = dict(zip(self.kernel.arg_names, arguments, strict=False))
                assert not set(named) & set(options)
                noted[self.kernel] = Launch(grid, named | options)

            return note

    for variant in VARIANTS.values():
        function = variant.kernel.fn
        monkeypatch.setattr(sys.modules[function.__module__], function.__name__, Noting(variant.kernel))
    return noted


def size(flags: list[str]) -> tuple[int, int]:
    return (5, 7) if "any" in flags else (16, 32)


def zeros(channels: int, flags: list[str], kind: str = "fp32") -> torch.Tensor:
    return torch.zeros((N, channels, *size(flags)), dtype=KINDS[kind])


def table() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(5, 8), number(0, CPU)


def stream() -> torch.Tensor:
    return noise_stream(0).repeat(N, 1)


def launch_noise(*flags: str) -> None:
    noise(zeros(3, [*flags]), stream(), number(0, CPU))


def launch_start_state(kind: str, target: str, *flags: str) -> None:
    x, network = zeros(3, []), zeros(7 if target == "nchw" else 3, [], kind)
    prior = (x, torch.zeros(2)) if "prior" in flags else None
    start_state(x, network, x, zeros(1, []), stream(), number(0, CPU), prior)


def launch_prior_step(kind: str, target: str, *names: str) -> None:
    flags, taken = [*names], kind
    if target == "to":  # a network that takes another type than it returns
        taken, target, *flags = names
    x = zeros(3, flags)
    prediction: Prediction = "v" if "v" in flags else "x0" if "x0" in flags else "noise"
    layout = "nhwc" if target == "nhwc" else "nchw"
    network = None
    if target == "nchw":
        network = zeros(7, flags, taken)
    elif target == "nhwc":
        network = zeros(8, flags, taken).to(memory_format=torch.channels_last)
    prior_step(
        x,
        arranged(x, layout, KINDS[kind]),
        *table(),
        prediction=prediction,
        coefficients=None if "free" in flags else (x, x),
        condition=None if network is None else (x, zeros(1, flags)),
        network=network,
        stream=stream() if "noise" in flags else None,
        last=target == "last",
    )


def launch_prior_coefficients(kind: str, *names: str) -> None:
    flags = [*names]
    x, limits = zeros(3, flags), illumination_limits(1e-4, 0.01, 4.0)
    prior_coefficients(x, x, x, zeros(3, flags, kind), limits, *table(), x if "h" in flags else None)


def launch_confident_mask(kind: str, *flags: str) -> None:
    confident_mask(zeros(1, [*flags]), zeros(1, [*flags], kind), torch.zeros(1))


def launch_confident_depth(*flags: str) -> None:
    confident_depth(zeros(3, [*flags]), zeros(1, [*flags]))


def launch_mask_update(kind: str, *names: str) -> None:
    flags = [*names]
    mask, given = zeros(1, flags), (zeros(3, flags), torch.zeros(N, 4, 128)) if "closed" in flags else None
    mask_update(mask, mask, zeros(1, flags, kind), mask, *table(), given)


def photo(kind: str, flags: list[str]) -> torch.Tensor:
    pixel, channels = kind.split("x")
    return torch.zeros((N, *size(flags), int(channels)), dtype=KINDS[pixel])


def launch_to_planes(kind: str, pixels: str) -> None:
    to_planes(zeros(3, [], kind), photo(pixels, ["any"]))


def launch_to_pixels(kind: str, pixels: str, *names: str) -> None:
    flags = [*names]
    source, dither = photo(pixels, flags), stream() if "dither" in flags else None
    to_pixels(source, zeros(3, flags, kind), source, signed="signed" in flags, dither=dither)


def launch_guided_upsample(kind: str = "fp32", *flags: str) -> None:
    small = torch.zeros(N, 3, 5, 6)
    guided_upsample(zeros(3, [*flags]), small, small, zeros(3, [*flags], kind), torch.ones(1), 2)


def launch_group_norm(kind: str = "fp32", layout: str = "nchw", *flags: str) -> None:
    order = torch.channels_last if layout == "nhwc" else torch.contiguous_format
    x, ones = zeros(128, [], kind).to(memory_format=order), torch.ones(128)
    added = x if "residual" in flags else None
    time = torch.zeros(N, 128) if "time" in flags else None
    group_norm_silu(x, x, ones, ones, torch.ones(1), 2, time=time, residual=added, summed=added, silu="silu" in flags)


LAUNCHERS: dict[str, Callable[..., None]] = {
    "noise": launch_noise,
    "start_state": launch_start_state,
    "prior_step": launch_prior_step,
    "prior_coefficients": launch_prior_coefficients,
    "confident_mask": launch_confident_mask,
    "confident_depth": launch_confident_depth,
    "mask_update": launch_mask_update,
    "to_planes": launch_to_planes,
    "to_pixels": launch_to_pixels,
    "window_fit": launch_guided_upsample,
    "window_mean": launch_guided_upsample,
    "guided_apply": launch_guided_upsample,
    "partial_statistics": launch_group_norm,
    "merge_statistics": lambda *flags: launch_group_norm("fp32", "nchw", *flags),
    "normalise": launch_group_norm,
}
"""By the first words of a variant's name, called with the others."""


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=lambda variant: variant.name)
def test_a_variant_describes_what_its_name_launches(variant: Variant, launches: dict[Any, Launch]) -> None:
    operation = max((name for name in LAUNCHERS if variant.name.startswith(name)), key=len)
    LAUNCHERS[operation](*variant.name.removeprefix(operation).split("_")[1:])
    launch = launches[variant.kernel]
    for name, constant in variant.constants.items():
        assert launch.values[name] == constant, name
    for name, kind in variant.types.items():
        value = launch.values[name]
        if kind.startswith("*"):
            unused = name == "stream" and not variant.constants.get("STOCHASTIC", True)
            assert value.dtype == KINDS[kind[1:]] or unused, name
        else:
            assert isinstance(value, int), name
            assert name not in variant.aligned or value % 16 == 0, name
    assert launch.values["num_warps"] == variant.warps
    assert launch.values["enable_fp_fusion"] is False
    numbers = {name: launch.values[name] for name, kind in variant.types.items() if kind == "i32"}
    grid = tuple(eval(axis, {"ceil": math.ceil, "images": N} | numbers) for axis in variant.grid)
    assert grid == (*launch.grid, 1, 1)[:3]
