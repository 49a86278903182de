"""What holds for every kernel: a photo's bits do not depend on its batch, and no tool finds a bad access or a race."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from shadowdiffusion.kernels.ahead_of_time import OPERATIONS
from tests.kernels.buffers import Guarded
from tests.kernels.every_kernel import EVERY, Photos

ROOT = Path(__file__).resolve().parents[2]


def test_no_kernel_is_left_out() -> None:
    assert set(EVERY) == {*OPERATIONS, "group_norm_silu", "guided_upsample"}


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> list[Guarded]:
    """The memory that launchers ask for, which now lies between margins."""
    plain, guards = torch.Tensor.new_empty, []

    def guarded(like: torch.Tensor, *shape: int, **options: Any) -> torch.Tensor:
        if "device" in options:  # the interpreter's own
            return plain(like, *shape, **options)
        guards.append(Guarded(shape, like.device, options.get("dtype", like.dtype)))
        return guards[-1].tensor

    monkeypatch.setattr(torch.Tensor, "new_empty", guarded)
    return guards


@pytest.mark.parametrize("operation", EVERY)
def test_equal_inputs_give_equal_bits_in_any_batch(
    operation: str, device: torch.device, scratch: list[Guarded]
) -> None:
    run, size = EVERY[operation], (96, 161) if device.type == "cuda" else (5, 9)
    batch = run(Photos(device, *size))
    assert not any(bool(output.isnan().any()) for output in batch)
    for which in (0, 1) * (5 if device.type == "cuda" else 1):
        alone = run(Photos(device, *size, (which,)))
        assert all(torch.equal(one[0], many[which]) for one, many in zip(alone, batch, strict=True))
    assert bool(scratch) == (operation in ("mask_update", "group_norm_silu", "guided_upsample"))
    for memory in scratch:
        memory.check_margins()


@pytest.mark.gpu
@pytest.mark.xdist_group("cuda")
@pytest.mark.parametrize("operation", EVERY)
def test_run_after_run_gives_equal_bits(operation: str) -> None:
    photos = Photos(torch.device("cuda"), 96, 160)
    first = EVERY[operation](photos)
    for _ in range(10):
        assert all(torch.equal(one, other) for one, other in zip(first, EVERY[operation](photos), strict=True))


def sanitizer() -> str | None:
    """NVIDIA's compute-sanitizer: on the PATH, or in the CUDA toolkit that a variable, nvcc or custom points to."""
    nvcc = shutil.which("nvcc")
    homes = [os.environ.get("CUDA_HOME"), nvcc and str(Path(nvcc).resolve().parents[1]), "/usr/local/cuda"]
    places = [f"{home}/{folder}" for home in homes if home for folder in ("bin", "compute-sanitizer")]
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=os.pathsep.join(places))


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.xdist_group("cuda")
@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_compute_sanitizer_finds_nothing(tool: str) -> None:
    program = sanitizer()
    if program is None:
        pytest.skip("compute-sanitizer is neither on the PATH nor in a CUDA toolkit")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTORCH_NO_CUDA_MEMORY_CACHING"] = "1"  # so that the end of a tensor is the end of its memory
    command = [program, "--tool", tool, "--error-exitcode", "3", sys.executable, "-m", "tests.kernels.every_kernel"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1800)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    if tool == "memcheck":  # and it would have found something
        command.append("--broken")
        run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1800)
        assert run.returncode == 3, run.stdout[-3000:] + run.stderr[-3000:]
