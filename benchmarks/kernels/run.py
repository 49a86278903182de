"""`shadowdiffusion bench kernels`: measure case after case, show each, store each, then write the report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.kernels.record import KIND, quiet
from shadowdiffusion.benchmarks.kernels.report import HEADINGS, line
from shadowdiffusion.benchmarks.kernels.speed import cases, copy_bandwidth, gpu_bench, measure, smoke_bench
from shadowdiffusion.benchmarks.measurement.machine import header, slug
from shadowdiffusion.benchmarks.measurement.results import append, results_file
from shadowdiffusion.benchmarks.reports import write_reports


@dataclass(frozen=True)
class Request:
    """What was asked for; empty sequences stand for the usual. output: None = store nothing."""

    kernels: Sequence[str]
    sides: Sequence[int]
    batches: Sequence[int]
    minutes: float
    force: bool
    smoke: bool
    output: Path | None


def run(request: Request, command: Sequence[str]) -> None:
    """Measure and store. Raises BenchmarkError at the end if any case is missing for another reason than time."""
    began = monotonic()
    bench = smoke_bench() if request.smoke else gpu_bench()
    chosen = cases(bench, request.kernels, request.sides, request.batches)
    head = header(command, device=None if request.smoke else bench.device, smoke=request.smoke)
    bandwidth = copy_bandwidth(bench)
    file = None if request.output is None else results_file(request.output, slug(head), KIND)
    name = head.machine.gpu.name if head.machine.gpu else head.machine.cpu
    note = "NOT A MEASUREMENT: interpreted kernels, tiny sizes" if request.smoke else f"copy {bandwidth:.0f} GB/s"
    print(f"{name}: {note}\n{HEADINGS}", flush=True)
    missing = 0
    for number, case in enumerate(chosen):
        if monotonic() - began > 60 * request.minutes:
            _say(f"{request.minutes:g} minutes are over: {len(chosen) - number} of {len(chosen)} cases are left out")
            break
        try:
            record = measure(case, bench, head, bandwidth)
        except Exception as error:  # one kernel that fails must not cost the measurements of the others
            missing += 1
            _say(f"{case.title}: {error}".splitlines()[0])
            continue
        for baseline, reason in record.failures.items():
            _say(f"{case.title}: no {baseline}: {reason}")
        for clock, spreads in record.noisy.items():
            worst = max(spreads, key=lambda name: spreads[name])
            _say(f"{case.title}: by the {clock} clock, times spread too wide ({worst} by {spreads[worst]:.0%})")
        kept = record if request.force else quiet(record)
        if kept is None:
            missing += 1
            continue
        print(line(kept), flush=True)
        if file is not None:
            append(file, kept)
    if request.output is not None:
        for page in write_reports(request.output):
            _say(f"wrote {page}")
    if missing:
        raise BenchmarkError(f"{missing} of {len(chosen)} cases have no result (--force keeps noisy ones)")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
