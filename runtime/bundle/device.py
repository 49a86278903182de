"""The GPU of this machine, asked of the driver itself, and its CPU, asked of the kernel: no package is needed.

The GPU part has not been run on a GPU yet: the tests give it a driver made of Python functions.
"""

import ctypes
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
KERNEL_MODULE = Path("/sys/module/nvidia/version")
CPU_INFO = Path("/proc/cpuinfo")
EXTENSIONS = {"amx_int8": "amx", "avx512_vnni": "avx512-vnni", "avx512f": "avx512", "avx_vnni": "avx-vnni"}
EXTENSIONS |= {"avx2": "avx2", "sve": "sve", "asimd": "neon"}
"""Vector extensions that decide which code is fastest, by the kernel's flag, best first."""


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


def find_cpu(info: Path = CPU_INFO) -> str:
    """Model name of the CPU and its best vector extension: "AMD EPYC 7B13, avx2"."""
    try:
        lines = info.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = fields.get("flags", fields.get("features", "")).split()
    model = fields.get("model name") or platform.processor() or platform.machine() or "unknown CPU"
    best = next((name for flag, name in EXTENSIONS.items() if flag in flags), None)
    return f"{model}, {best}" if best else model
