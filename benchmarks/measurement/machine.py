"""The header of every record: which machine, which versions, which sources, which command, when."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shadowdiffusion.benchmarks.measurement.nvml import GpuState, gpu_state

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parents[2]
MEASURED = ("benchmarks", "kernels", "runtime", "training", "export")
"""Folders whose Python files decide what a benchmark measures."""
PACKAGES = (
    "shadowdiffusion",
    "numpy",
    "scipy",
    "scikit-image",
    "lpips",
    "torch",
    "triton",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "tensorrt-cu13",
    "tensorrt-rtx",
    "diffusers",
    "cuda-bindings",
)


class Gpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A GPU as PyTorch names it; sm: compute capability times ten; memory and cache in MiB; state at the start."""

    name: str
    sm: int
    memory_mib: int
    cache_mib: float
    multiprocessors: int
    cuda: str | None
    state: GpuState


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a benchmark ran. cores: those this process may use. versions: of everything installed that matters."""

    system: str
    cpu: str
    cores: int
    gpu: Gpu | None
    versions: dict[str, str]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run of a benchmark.

    started: UTC. commit, dirty: None outside a git repository; changed results and reports do not count as dirty.
    sources: SHA-256 over the Python files of MEASURED. smoke: figures of this run are not measurements.
    """

    started: str
    command: str
    commit: str | None
    dirty: bool | None
    sources: str
    smoke: bool
    machine: Machine


def header(command: Sequence[str], *, device: torch.device | None = None, smoke: bool = False) -> Header:
    """The header of a run that starts now. device: the GPU that is measured, None = the CPU."""
    here = _git("rev-parse", "--show-toplevel")  # an installed package may lie inside another repository
    commit = _git("rev-parse", "HEAD") if here and Path(here).resolve() == ROOT else None
    changes = _git("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!benchmarks/reports")
    return Header(
        datetime.now(UTC).isoformat(timespec="seconds"),
        shlex.join(("python", "-m", "benchmarks", *command)),
        commit,
        None if commit is None or changes is None else bool(changes),
        sources(),
        smoke,
        Machine(platform.platform(), _cpu(), _cores(), None if device is None else _gpu(device), _versions()),
    )


def slug(header: Header) -> str:
    """The folder for results of this device: "nvidia-h100-80gb-hbm3"; "smoke" for runs that measure nothing."""
    if header.smoke:
        return "smoke"
    name = header.machine.gpu.name if header.machine.gpu else header.machine.cpu
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def sources(root: Path = ROOT, folders: Sequence[str] = MEASURED) -> str:
    """SHA-256 over names and contents of the Python files of some folders, which also holds where git is absent."""
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted((root / folder).rglob("*.py")):
            content = file.read_bytes()
            digest.update(f"{file.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _git(*arguments: str) -> str | None:
    try:
        run = subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() if run.returncode == 0 else None


def _gpu(device: torch.device) -> Gpu:
    import torch

    facts = torch.cuda.get_device_properties(device)
    return Gpu(
        facts.name,
        10 * facts.major + facts.minor,
        facts.total_memory >> 20,
        facts.L2_cache_size / 2**20,
        facts.multi_processor_count,
        torch.version.cuda,
        gpu_state(gpu_uuid(device)),
    )


def gpu_uuid(device: torch.device) -> str:
    """The UUID of a GPU as NVML wants it."""
    import torch

    return "GPU-" + str(torch.cuda.get_device_properties(device).uuid).removeprefix("GPU-")


def _cpu() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
