"""What `variants` says of a kernel is what the launcher launches: types, constants, multiples, grid and warps.

Launchers are called as a variant's name reads, with the kernels replaced by one that only notes how it is launched.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from shadowdiffusion.kernels.ahead_of_time import all_variants
from shadowdiffusion.kernels.confident_mask import confident_mask
from shadowdiffusion.kernels.mask_update import confident_depth, mask_update
from shadowdiffusion.kernels.noise import noise_stream
from shadowdiffusion.kernels.prior_coefficients import illumination_limits, prior_coefficients
from shadowdiffusion.kernels.prior_step import prior_step
from shadowdiffusion.kernels.start_state import start_state
from shadowdiffusion.kernels.variant import Variant
from tests.kernels.buffers import number

VARIANTS = {variant.name: variant for variant in all_variants()}
KINDS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, "i32": torch.int32, "i64": torch.int64}
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


def zeros(channels: int, kind: str = "fp32") -> torch.Tensor:
    return torch.zeros((N, channels, 16, 32), dtype=KINDS[kind])


def table() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(5, 8), number(0, CPU)


def stream() -> torch.Tensor:
    return noise_stream(0).repeat(N, 1)


def packed(flags: Sequence[str]) -> torch.Tensor | None:
    """The network's input of seven channels if the name has `packed_<type>`."""
    return zeros(7, flags[1]) if "packed" in flags else None


def launch_start_state(*flags: str) -> None:
    x, network = zeros(3), packed(flags)
    prior = (x, torch.zeros(2)) if "prior" in flags else None
    start_state(x, x if network is None else network, x, zeros(1), stream(), number(0, CPU), prior)


def launch_prior_step(*flags: str) -> None:
    x, network = zeros(3), packed(flags)
    prior_step(
        x,
        x,
        *table(),
        coefficients=None if "free" in flags else (x, x),
        condition=None if network is None else (x, zeros(1)),
        network=network,
        stream=stream() if "noise" in flags else None,
        last="last" in flags,
    )


def launch_prior_coefficients(*flags: str) -> None:
    x = zeros(3)
    prior_coefficients(x, x, x, x, illumination_limits(1e-4, 0.01, 4.0), *table(), x if "h" in flags else None)


def launch_mask_update(*flags: str) -> None:
    mask = zeros(1)
    mask_update(mask, mask, mask, mask, *table(), (zeros(3), torch.zeros(N, 4, 128)) if "closed" in flags else None)


LAUNCHERS: dict[str, Callable[..., object]] = {
    "start_state": launch_start_state,
    "prior_step": launch_prior_step,
    "prior_coefficients": launch_prior_coefficients,
    "confident_mask": lambda: confident_mask(zeros(1), zeros(1), torch.zeros(1)),
    "confident_depth": lambda: confident_depth(zeros(3), zeros(1)),
    "mask_update": launch_mask_update,
}
"""By the first words of a variant's name, called with the others."""


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=lambda variant: variant.name)
def test_a_variant_describes_what_its_name_launches(variant: Variant, launches: dict[Any, Launch]) -> None:
    (operation,) = (name for name in LAUNCHERS if variant.name.startswith(name))
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
