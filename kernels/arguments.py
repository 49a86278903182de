"""What a launcher checks before a kernel reads or writes memory: shape, type, device and strides.

A Triton kernel trusts its pointers, so every launcher asks here first. Functions return why a tensor cannot
be used, or None, so that a capability predicate can be a chain of `or`.
"""

from typing import TYPE_CHECKING

from shadowdiffusion.kernels.errors import KernelError

if TYPE_CHECKING:
    from torch import Tensor

NETWORK_TYPES = ("float32", "float16", "bfloat16")
"""Precisions in which a network may hand over or take tensors; state and coefficients are always float32."""

GRID = 65535
"""Programs that CUDA starts at most along y, where kernels have their images."""


def sized(name: str, tensor: "Tensor", channels: int | str, *, bits: int = 29, programs: int = 1) -> str | None:
    """Why `tensor` is empty, has no four dimensions, 2^bits pixels or more, or too many images, or None.

    bits: so that offsets inside an image fit in 32 bits. programs: along y, per image.
    """
    if tensor.ndim == 4 and tensor.numel() and tensor.shape[2] * tensor.shape[3] < 1 << bits:
        most = GRID // programs
        return f"{name} has {len(tensor)} images: give {most} at most" if len(tensor) > most else None
    shape = tuple(tensor.shape)
    return f"{name} has shape {shape}: it must be [N, {channels}, H, W] with at least 1 and below 2^{bits} pixels"


def dense(name: str, tensor: "Tensor", shape: tuple[int, ...], *types: str, device: object) -> str | None:
    """Why `tensor` is not a contiguous tensor of this shape, one of these types and this device, or None."""
    if tuple(tensor.shape) != shape:
        return f"{name} has shape {tuple(tensor.shape)}, not {shape}"
    if not tensor.is_contiguous():
        return f"{name} has strides {tuple(tensor.stride())}: it must be contiguous"
    return _kind(name, tensor, types, device)


def strided(name: str, tensor: "Tensor", shape: tuple[int, ...], *types: str, device: object) -> str | None:
    """Like `dense`, for any strides in which one step covers a whole row: those of NCHW, NHWC and slices of them."""
    if tuple(tensor.shape) != shape:
        return f"{name} has shape {tuple(tensor.shape)}, not {shape}"
    height, width = shape[-2:]
    if height > 1 and width > 1 and tensor.stride(-2) != width * tensor.stride(-1):
        return f"{name} has strides {tuple(tensor.stride())}: its rows must follow each other without a gap"
    return _kind(name, tensor, types, device)


def pixel_stride(tensor: "Tensor") -> int:
    """Elements from one pixel to the next in reading order, of a tensor that `strided` accepts."""
    return tensor.stride(-1) if tensor.shape[-1] > 1 else tensor.stride(-2) if tensor.shape[-2] > 1 else 1


def refuse(problem: str | None) -> None:
    """Raise KernelError if there is a problem."""
    if problem:
        raise KernelError(problem)


def _kind(name: str, tensor: "Tensor", types: tuple[str, ...], device: object) -> str | None:
    if str(tensor.dtype).removeprefix("torch.") not in types:
        return f"{name} is {tensor.dtype}: it must be {' or '.join(types)}"
    if tensor.device != device:
        return f"{name} is on {tensor.device}, not on {device}: move it there"
    return None
