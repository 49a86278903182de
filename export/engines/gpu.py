"""The GPU of this machine, asked of the driver itself: no CUDA toolkit and no package is needed.

Not run on a GPU yet: the tests give it a driver made of Python functions.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
KERNEL_MODULE = Path("/sys/module/nvidia/version")


@dataclass(frozen=True)
class Gpu:
    """name as the driver gives it, sm: 89 for compute capability 8.9, driver: its version, such as 580.65.06."""

    name: str
    sm: int
    driver: str


def find_gpu(load: Callable[[str], Any] = ctypes.CDLL, module: Path = KERNEL_MODULE) -> Gpu | None:
    """The first GPU that CUDA programs see (CUDA_VISIBLE_DEVICES counts), None without a driver or a GPU."""
    try:
        cuda = load("libcuda.so.1")
    except OSError:
        return None
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    major, minor = ctypes.c_int(), ctypes.c_int()
    calls = (
        lambda: cuda.cuInit(0),
        lambda: cuda.cuDeviceGet(ctypes.byref(device), 0),
        lambda: cuda.cuDeviceGetName(name, len(name), device),
        lambda: cuda.cuDeviceGetAttribute(ctypes.byref(major), MAJOR, device),
        lambda: cuda.cuDeviceGetAttribute(ctypes.byref(minor), MINOR, device),
    )
    if any(call() != 0 for call in calls):
        return None
    return Gpu(name.value.decode(errors="replace"), 10 * major.value + minor.value, _driver(cuda, module))


def _driver(cuda: Any, module: Path) -> str:
    """The driver's own version, or, where the kernel does not say, the CUDA version it supports."""
    try:
        return module.read_text().strip()
    except OSError:
        version = ctypes.c_int()
        cuda.cuDriverGetVersion(ctypes.byref(version))
        return f"CUDA {version.value // 1000}.{version.value % 1000 // 10}"
