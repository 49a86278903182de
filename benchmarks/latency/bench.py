"""What `latency` measures with: device, threads, sizes, effort; the real thing, or a trial of the program."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from shadowdiffusion.benchmarks.baselines.setting import Setting
from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.latency.ablation import CPU_ENGINES, GPU_ENGINES, Kind
from shadowdiffusion.benchmarks.latency.racing import PAUSE, effort_within
from shadowdiffusion.benchmarks.measurement.distribution import SPREAD
from shadowdiffusion.benchmarks.measurement.timing import SMOKE, Effort
from shadowdiffusion.benchmarks.models.subject import Subject, bundle_subject, paper_subject, tiny_subject
from shadowdiffusion.export.photos import ellipse, synthetic
from shadowdiffusion.runtime.bundle.folder import Task
from shadowdiffusion.runtime.bundle.opening import built_in
from shadowdiffusion.runtime.errors import RestoreError

Device = Literal["cpu", "cuda"]
Report = Callable[[str], None]

MODELS = ("bundle", "paper")
PHOTO = (3000, 4000)
"""Height and width of a photo: 12 megapixels."""


@dataclass(frozen=True)
class Bench:
    """device, threads: where everybody runs. smoke: try everything once, measure nothing.

    photo: (height, width) of the photo of end-to-end runs. compiling: options of torch.compile. engines: whether
    engines are built.
    """

    device: Device
    threads: int
    smoke: bool
    photo: tuple[int, int]
    compile_mode: str
    compiling: Mapping[str, Any]
    engines: tuple[Kind, ...]

    def setting(self, subject: Subject, size: int, batch: int, steps: int) -> Setting:
        """Working images of a size, all different, their masks and seeds. Raises BenchmarkError."""
        multiple = subject.bundle.manifest.model.multiple
        if size < multiple or size % multiple:
            near = max(1, round(size / multiple)) * multiple
            raise BenchmarkError(
                f"size {size} does not fit these networks: choose multiples of {multiple}, like {near}"
            )
        if batch < 1:
            raise BenchmarkError(f"batch {batch} is empty: choose at least 1")
        try:
            table = subject.bundle.table(steps)
        except RestoreError as error:
            raise BenchmarkError(str(error)) from error
        scene, masks = synthetic(size, size)[None], np.repeat(ellipse(size, size), batch, axis=0)
        images = np.concatenate([np.roll(scene, 16 * index, axis=3) for index in range(batch)])
        device, seeds = torch.device(self.device), list(range(batch))
        return Setting(subject, images, masks, seeds, table, device, self.threads, self.compile_mode, self.compiling)

    def effort(self, seconds: float, ms_per_round: float, turns: int) -> Effort:
        """For races of about so many seconds."""
        pause = PAUSE if self.device == "cpu" else 0.0
        return SMOKE if self.smoke else effort_within(seconds, ms_per_round, SPREAD, turns, pause)


def real_bench(device: str, threads: int | None) -> Bench:
    """device: "auto", "cpu" or "cuda". threads: None = all that this process may use. Raises BenchmarkError."""
    if device == "cuda" and not torch.cuda.is_available():
        raise BenchmarkError("PyTorch finds no CUDA device: install its CUDA build, or measure with --device cpu")
    chosen: Device = "cuda" if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else "cpu"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads is not None and threads < 1:
        raise BenchmarkError(f"{threads} threads are too few: choose at least 1")
    mode = {"mode": "max-autotune"} if chosen == "cuda" else {}
    title = "max-autotune" if chosen == "cuda" else "inductor, default"
    return Bench(
        chosen, threads or cores, False, (3000, 4000), title, mode, GPU_ENGINES if chosen == "cuda" else CPU_ENGINES
    )


def smoke_bench() -> Bench:
    """Everything once, tiny, on the CPU; torch.compile traces but compiles nothing."""
    return Bench("cpu", 1, True, (48, 64), "traced only", {"backend": "eager"}, CPU_ENGINES[:1])


def subjects(
    bench: Bench, models: Sequence[str], bundle: Path | None, task: Task, report: Report
) -> list[Callable[[], Subject]]:
    """What makes the models asked for, () = all. Raises BenchmarkError for an unknown one."""
    if unknown := [name for name in models if name not in MODELS]:
        raise BenchmarkError(f"model {unknown[0]!r} is unknown: choose from {', '.join(MODELS)}")
    if bench.smoke:
        return [lambda: tiny_subject(report)]
    makers = {
        "bundle": lambda: bundle_subject(bundle or built_in(task), report),
        "paper": lambda: paper_subject(report),
    }
    return [makers[name] for name in models or MODELS]
