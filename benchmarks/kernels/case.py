"""A kernel at one size, ready to be checked and timed: its inputs, its floor, its competitors, the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from shadowdiffusion.benchmarks.kernels.baselines import Formula

Tensors = tuple[Tensor, ...]


class Inputs(NamedTuple):
    """One set of inputs in device memory, with the outputs our kernel writes.

    ours: launches our kernel and returns its outputs. touched: every tensor that it must read or write, as the views
    it touches: their bytes are the floor. arguments: of each formula. truth: the results in float64. results: our
    outputs in the form of the truth.
    """

    ours: Callable[[], Tensors]
    touched: Tensors
    arguments: Mapping[str, Tensors]
    truth: Callable[[], Tensors]
    results: Callable[[Tensors], Tensors] = lambda outputs: outputs

    @property
    def bytes(self) -> int:
        """Each of the touched bytes once."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.touched)


@dataclass(frozen=True)
class Case:
    """What to measure.

    shape: [N, C, H, W], as the record says it. launches: of our kernel. formulas: the PyTorch baselines by name.
    build: a set of inputs from a seed. tolerance: relative L2 error above which nothing is timed. streaming: memory
    bandwidth should be the only limit. comparable: whether the formulas compute the same numbers (noise does not).
    as_called: also timed by the wall clock, from Python.
    """

    kernel: str
    variant: str
    shape: tuple[int, int, int, int]
    launches: int
    formulas: Mapping[str, Formula]
    build: Callable[[torch.device, int], Inputs]
    tolerance: float
    streaming: bool = True
    comparable: bool = True
    as_called: bool = False

    @property
    def title(self) -> str:
        """One line that names it."""
        images, channels, height, width = self.shape
        return f"{self.kernel} {self.variant} {images}x{channels}x{height}x{width}"


class Draw:
    """Random tensors on a device, and outputs full of NaN: what a kernel leaves out is no agreement."""

    def __init__(self, device: torch.device, seed: int) -> None:
        self._device, self._generator = device, torch.Generator(device).manual_seed(seed)

    def uniform(self, *shape: int) -> Tensor:
        """float32 in [0, 1)."""
        return torch.rand(shape, generator=self._generator, device=self._device)

    def normal(self, *shape: int) -> Tensor:
        """float32, standard normal."""
        return torch.randn(shape, generator=self._generator, device=self._device)

    def unwritten(self, *shape: int) -> Tensor:
        """float32, not a number."""
        return torch.full(shape, float("nan"), device=self._device)
