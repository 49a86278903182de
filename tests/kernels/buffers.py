"""Output tensors that tell whether a kernel wrote every element, and nothing else."""

from __future__ import annotations

from math import prod

import torch

SHAPES = [(1, 1, 1), (2, 7, 5), (2, 1, 9), (1, 16, 32), (1, 33, 47)]
"""images, height, width: one pixel, odd, a row, one whole block of 512, several with a part of one at the end"""
TYPES = [torch.float32, torch.float16, torch.bfloat16]

MARGIN = 64  # elements before and after; keeps the view aligned to 16 bytes
SENTINEL = 77


class Guarded:
    """A tensor of poison inside a larger buffer of sentinels: `tensor` is the view a kernel may write."""

    def __init__(
        self,
        shape: tuple[int, ...],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
    ) -> None:
        count = prod(shape)
        self.buffer = torch.full((count + 2 * MARGIN,), SENTINEL, dtype=dtype, device=device)
        view = self.buffer[MARGIN : MARGIN + count]
        if dtype.is_floating_point:
            view.fill_(float("nan"))
        if channels_last:
            images, channels, height, width = shape
            self.tensor = view.view(images, height, width, channels).permute(0, 3, 1, 2)
        else:
            self.tensor = view.view(shape)

    def check_margins(self) -> None:
        """Fail if something around the tensor was written."""
        assert bool((self.buffer[:MARGIN] == SENTINEL).all()), "written before the tensor"
        assert bool((self.buffer[-MARGIN:] == SENTINEL).all()), "written after the tensor"

    def written(self) -> torch.Tensor:
        """The tensor as float64 on the CPU, after checking that it holds no poison and its margins are intact."""
        self.check_margins()
        assert not bool(self.tensor.isnan().any()), "elements were not written"
        return self.tensor.double().cpu()


def random(shape: tuple[int, ...], device: torch.device, seed: int) -> torch.Tensor:
    """float32 in [0, 1), the same on every device."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).to(device)


def normal(shape: tuple[int, ...], device: torch.device, seed: int) -> torch.Tensor:
    """Standard normal float32, the same on every device."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)


def arranged(tensor: torch.Tensor, layout: str, dtype: torch.dtype) -> torch.Tensor:
    """The same values as contiguous planes, the first of eight channels per pixel, or a slice of more channels."""
    images, channels, height, width = tensor.shape
    if layout == "nchw":
        return tensor.to(dtype).contiguous()
    if layout == "nhwc":
        wide = torch.full((images, height, width, 8), SENTINEL, dtype=dtype, device=tensor.device)
        view = wide.permute(0, 3, 1, 2)[:, :channels]
    else:
        wide = torch.full((images, channels + 2, height, width), SENTINEL, dtype=dtype, device=tensor.device)
        view = wide[:, 1 : 1 + channels]
    view.copy_(tensor)
    return view


def number(value: int, device: torch.device) -> torch.Tensor:
    """int32[1] in device memory."""
    return torch.tensor([value], dtype=torch.int32, device=device)
