"""`python -m benchmarks latency`: measure one thing after the other, show it, store it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

import torch

from benchmarks.baselines.setting import Contestant, Unavailable
from benchmarks.errors import BenchmarkError
from benchmarks.latency import record as races
from benchmarks.latency import stage_record as stages
from benchmarks.latency.ablation import Engines
from benchmarks.latency.bench import Bench, real_bench, smoke_bench, subjects
from benchmarks.latency.contestants import contestants, few
from benchmarks.latency.measure import Job, race_images, race_photo, runs_photos, take_apart
from benchmarks.latency.record import LatencyRecord
from benchmarks.latency.stage_record import StageRecord
from benchmarks.latency.table import lines, stage_lines
from benchmarks.measurement.machine import Header, header, slug
from benchmarks.measurement.results import append, results_file
from benchmarks.models.subject import Subject
from runtime.bundle.folder import Task

SCOPES = ("images", "photo", "stages")
Measure = Callable[[Job], LatencyRecord | StageRecord]


@dataclass(frozen=True)
class Request:
    """What was asked for; empty sequences stand for the usual. output: None = store nothing."""

    models: Sequence[str]
    bundle: Path | None
    task: Task
    sizes: Sequence[int]
    batches: Sequence[int]
    steps: Sequence[int]
    scopes: Sequence[str]
    contestants: Sequence[str]
    device: str
    threads: int | None
    minutes: float
    force: bool
    smoke: bool
    output: Path | None


def run(request: Request, command: Sequence[str]) -> None:
    """Measure and store. Raises BenchmarkError at the end if anything is missing for another reason than time."""
    if unknown := [name for name in request.scopes if name not in SCOPES]:
        raise BenchmarkError(f"scope {unknown[0]!r} is unknown: choose from {', '.join(SCOPES)}")
    began = monotonic()
    report = _reporter(began)
    bench = smoke_bench() if request.smoke else real_bench(request.device, request.threads)
    torch.set_num_threads(bench.threads)
    engines = Engines(bench.engines, report)
    everybody = contestants(engines, request.contestants)
    makers = subjects(bench, request.models, request.bundle, request.task, report)
    gpu = torch.device("cuda", torch.cuda.current_device()) if bench.device == "cuda" else None
    head = header(command, device=gpu, smoke=request.smoke)
    print(_title(head), flush=True)
    end, missing = began + 60 * request.minutes, 0
    for number, maker in enumerate(makers):
        subject = maker()
        plan = list(_plan(request, bench, subject, everybody))
        last = end - (len(makers) - number - 1) * (end - monotonic()) / (len(makers) - number)
        for place, (what, measure) in enumerate(plan):
            if monotonic() > end:
                report(f"{request.minutes:g} minutes are over: {what} and what follows is left out")
                break
            until = monotonic() + max(0.0, last - monotonic()) / (len(plan) - place)
            try:
                found = measure(Job(bench, head, until, report, engines))
            except Unavailable as error:
                report(f"no {what}: {error}")
                continue
            except BenchmarkError as error:
                missing += 1
                report(f"{what}: {error}")
                continue
            missing += _keep(found, request, head)
    if missing:
        raise BenchmarkError(f"{missing} results are missing, or have too wide a spread (--force keeps those)")


def _plan(
    request: Request, bench: Bench, subject: Subject, everybody: Sequence[Contestant]
) -> Iterator[tuple[str, Measure]]:
    """What to measure of one model: races at all sizes and step counts, then photo and parts at the first ones."""
    sizes, batches = request.sizes or ((32,) if bench.smoke else (256,)), request.batches or (1,)
    counts, scopes = request.steps or ((2,) if bench.smoke else (5, 25)), request.scopes or SCOPES
    settings = {
        (size, batch, steps): bench.setting(subject, size, batch, steps)
        for steps in counts
        for size in sizes
        for batch in batches
    }
    for (size, batch, steps), setting in settings.items():
        chosen = everybody if steps == counts[0] or request.contestants else few(everybody)
        if "images" in scopes:
            what = f"{subject.bundle.manifest.name}, {size} pixels, batch {batch}, {steps} steps"
            yield what, partial(race_images, setting=setting, contestants=chosen)
    first = settings[sizes[0], batches[0], counts[0]]
    photographers = [contestant for contestant in everybody if runs_photos(contestant)]
    if "photo" in scopes and photographers:
        yield "photo", partial(race_photo, setting=first, contestants=photographers)
    for contestant in photographers if "stages" in scopes else ():
        yield f"stages of {contestant.name}", partial(take_apart, setting=first, name=contestant.name)


def _keep(found: LatencyRecord | StageRecord, request: Request, head: Header) -> int:
    """Show and store a record, without what is noisy unless forced; returns how much is missing."""
    race = isinstance(found, LatencyRecord)
    kept = found if request.force else races.quiet(found) if isinstance(found, LatencyRecord) else stages.quiet(found)
    for line in lines(kept) if isinstance(kept, LatencyRecord) else stage_lines(kept) if kept else ():
        print(line, flush=True)
    if kept is not None and request.output is not None and (not isinstance(kept, LatencyRecord) or kept.entries):
        append(results_file(request.output, slug(head), races.KIND if race else stages.KIND), kept)
    return 0 if request.force else len(found.noisy)


def _title(head: Header) -> str:
    name = head.machine.gpu.name if head.machine.gpu else head.machine.cpu
    return f"{name}: NOT A MEASUREMENT: tiny networks, run once" if head.smoke else name


def _reporter(began: float) -> Callable[[str], None]:
    def report(line: str) -> None:
        print(f"[{monotonic() - began:6.1f} s] {line}", file=sys.stderr, flush=True)

    return report
