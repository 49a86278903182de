"""As a program: launches every kernel as PyTorch's users do, without a GPU, and prints what Triton compiled.

Triton compiles anew for integers that are 1, which it makes constants. The result is JSON, by kernel: its integers, and
those that were 1 in some launch and became constants. Nothing runs.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from typing import Any

import torch
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import CUDABackend
from triton.runtime import driver

from shadowdiffusion.kernels.group_norm_silu import group_norm_silu
from tests.kernels.every_kernel import EVERY, Photos

FOUND: dict[str, dict[str, set[str]]] = defaultdict(lambda: {"integers": set(), "ones": set()})


class Launcher:
    """Notes what was compiled for a launch, instead of launching it."""

    def __init__(self, source: Any, metadata: Any) -> None:
        integers = {name for name, kind in source.signature.items() if kind in ("i32", "i64")}
        fixed = {source.fn.arg_names[place[0]] for place, value in source.constants.items() if value is not None}
        ones = {name for name in fixed if not name.isupper()}
        FOUND[source.fn.fn.__name__]["integers"] |= integers | ones
        FOUND[source.fn.fn.__name__]["ones"] |= ones

    def __call__(self, *arguments: Any) -> None:
        """Launch nothing."""


class Utilities:
    """Loads nothing."""

    def load_binary(self, *arguments: Any) -> tuple[int, ...]:
        return 1, 1, 32, 0, 1024

    def unload_module(self, module: Any) -> None:
        return

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": 2**17, "multiprocessor_count": 1, "warpSize": 32, "max_num_regs": 2**16}


class Offline:
    """What Triton asks of a GPU: an SM 90 here."""

    utils, launcher_cls = Utilities(), Launcher

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_device_capability(self, device: int = 0) -> tuple[int, int]:
        return 9, 0

    def is_active(self) -> bool:
        return True


def launch_all(cpu: torch.device) -> None:
    """Every kernel with each of its integers at 1."""
    for height, width in ((1, 1), (1, 6), (5, 1)):
        for run in EVERY.values():
            run(Photos(cpu, height, width))
    one = torch.ones(4)
    for channels in (1, 4):  # groups of one channel
        x = torch.ones(2, channels, 1, 1)
        group_norm_silu(x, x, one[:channels], one[:channels], one[:1], channels)


if __name__ == "__main__":
    driver.set_active(Offline())
    CUDABackend.make_cubin = lambda *arguments: b""  # assembling would show nothing more
    with tempfile.TemporaryDirectory() as folder:
        knobs.cache.dir = folder
        launch_all(torch.device("cpu"))
    print(json.dumps({name: {key: sorted(values) for key, values in found.items()} for name, found in FOUND.items()}))
