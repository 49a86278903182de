"""How close the kernels come to the memory's bandwidth, in one process and race with PyTorch eager and compiled.

For every case: check all contestants against the float64 reference, then time them against each other over enough
sets of inputs that none stays in a cache. A copy of as many bytes races too: what even a copy does not reach at a size
is no fault of a kernel.
"""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.kernels.case import Case, Inputs, Tensors
from shadowdiffusion.benchmarks.kernels.cases import KERNELS
from shadowdiffusion.benchmarks.kernels.norm_cases import NAME as NORM
from shadowdiffusion.benchmarks.kernels.norm_cases import norm_cases
from shadowdiffusion.benchmarks.kernels.record import COMPILED, COPY, EAGER, OURS, Error, KernelRecord, Speedup, Timing
from shadowdiffusion.benchmarks.measurement.distribution import distribution, ratio
from shadowdiffusion.benchmarks.measurement.machine import Header
from shadowdiffusion.benchmarks.measurement.timing import SMOKE, Call, Clock, DeviceClock, Effort, Run, WallClock, race
from shadowdiffusion.training.denoiser import PAPER, DenoiserConfig

SIDES, BATCHES = (256, 512, 1024), (1, 16, 4)
"""Pixels and images, unless others are asked for."""
NORM_SIDE, NORM_BATCH = 256, 1
"""The same for the norms of the network, which have 34 sizes of their own."""
MOST_CALLS = 64
"""Sets of inputs in a run at most."""
COPIED = 1 << 30
"""Bytes that the large copy reads and writes."""
COMPILE_MODE = "max-autotune-no-cudagraphs"
"""Of torch.compile: the fastest that leaves the launching to us, as all contestants run in a captured graph."""


@dataclass(frozen=True)
class Bench:
    """What to measure with. clocks: the first for every case, the others for those timed as called.

    footprint: bytes that a run must touch at least; copied: bytes of the large copy; compiling: options of
    torch.compile, compile_mode their name; network: whose norms are measured; sides, batches and those of the norms:
    the usual sizes.
    """

    device: torch.device
    clocks: Sequence[Clock]
    effort: Effort
    footprint: int
    copied: int
    compile_mode: str
    compiling: dict[str, Any]
    network: DenoiserConfig
    sides: Sequence[int] = SIDES
    batches: Sequence[int] = BATCHES
    norm_side: int = NORM_SIDE
    norm_batch: int = NORM_BATCH


def gpu_bench() -> Bench:
    """Measure on the GPU. Raises BenchmarkError where there is none."""
    if not torch.cuda.is_available():
        raise BenchmarkError("no CUDA device: kernels are measured on a GPU (--smoke tries the program without one)")
    if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
        raise BenchmarkError("TRITON_INTERPRET is set, so kernels would be interpreted: unset it to measure them")
    device = torch.device("cuda", torch.cuda.current_device())
    clock = DeviceClock(device)
    compiling = {"mode": COMPILE_MODE}
    clocks = (clock, WallClock(torch.cuda.synchronize))
    return Bench(device, clocks, Effort(), 4 * clock.cache_bytes, COPIED, COMPILE_MODE, compiling, PAPER)


def smoke_bench() -> Bench:
    """Run everything once on the CPU; torch.compile traces but compiles nothing."""
    network = DenoiserConfig(base=4, multipliers=(1,), blocks=1, groups=2)
    clocks, compiling = (WallClock(),), {"backend": "eager"}
    return Bench(torch.device("cpu"), clocks, SMOKE, 1, 1 << 12, "traced only", compiling, network, (8,), (1,), 8)


def cases(bench: Bench, kernels: Sequence[str], sides: Sequence[int], batches: Sequence[int]) -> list[Case]:
    """Cases of those kernels and sizes, empty = the usual ones, single images first. Raises BenchmarkError."""
    known = (*KERNELS, NORM)
    unknown = [name for name in kernels if name not in known]
    if unknown:
        raise BenchmarkError(f"kernel {unknown[0]!r} is unknown: choose from {', '.join(known)}")
    for side in sides:
        if side < 8 or side % 8:
            raise BenchmarkError(f"size {side} does not fit the network: choose a multiple of 8 pixels")
    for images in batches:
        if images < 1:
            raise BenchmarkError(f"batch {images} is empty: choose at least 1")
    found = list[Case]()
    if not kernels or NORM in kernels:
        for images, side in product(batches or (bench.norm_batch,), sides or (bench.norm_side,)):
            found += norm_cases(bench.network, images, side)
    for images, side in product(batches or bench.batches, sides or bench.sides):
        for name, make in KERNELS.items():
            found += make(images, side) if not kernels or name in kernels else []
    return found


def copy_bandwidth(bench: Bench) -> float:
    """GB/s of a copy so large that no cache holds it, bytes read and bytes written counted. Raises BenchmarkError."""
    timed = race({COPY: bench.clocks[0].prepare(_copies(bench.device, bench.copied, 2))}, bench.effort)
    if timed.noisy:
        raise BenchmarkError(
            f"copies spread by {max(timed.noisy.values()):.0%}, more than {bench.effort.spread:.0%}: stop what else "
            "uses this GPU"
        )
    return bench.copied / (1e6 * distribution(timed.samples[COPY]).p50)


@torch.no_grad()
def measure(case: Case, bench: Bench, header: Header, bandwidth: float) -> KernelRecord:
    """Check and time one case; frees what it took. Raises BenchmarkError for a kernel that computes something else."""
    try:
        return _measure(case, bench, header, bandwidth)
    finally:
        torch.compiler.reset()  # it gives up on a function that has seen eight sizes
        gc.collect()
        if bench.device.type == "cuda":
            torch.cuda.empty_cache()


def _measure(case: Case, bench: Bench, header: Header, bandwidth: float) -> KernelRecord:
    first = case.build(bench.device, 0)
    calls = min(MOST_CALLS, max(2, math.ceil(bench.footprint / first.bytes)))
    sets = [first, *(case.build(bench.device, seed) for seed in range(1, calls))]
    contestants, counts, errors, failures = _admitted(case, bench, sets)
    clocks = bench.clocks if case.as_called else bench.clocks[:1]
    races = {clock.name: race(_prepared(clock, contestants, failures), bench.effort) for clock in clocks}
    taken = [(name, clock, times) for clock, timed in races.items() for name, times in timed.samples.items()]
    images, channels, height, width = case.shape
    return KernelRecord(
        header,
        case.kernel,
        case.variant,
        images,
        channels,
        height,
        width,
        first.bytes,
        case.launches,
        counts,
        case.streaming,
        bandwidth,
        calls,
        max(timed.warm_up for timed in races.values()),
        bench.compile_mode,
        [Timing(name, clock, distribution(times)) for name, clock, times in taken],
        [Speedup(n, clock, ratio(times, races[clock].samples[OURS])) for n, clock, times in taken if n != OURS],
        errors,
        failures,
        {clock: timed.noisy for clock, timed in races.items() if timed.noisy},
    )


class _Admitted(NamedTuple):
    """Calls of every contestant, one per set of inputs; operations of the uncompiled baselines; errors of those that
    are compared; why others are out.
    """

    calls: dict[str, list[Call]]
    operations: dict[str, int]
    errors: dict[str, Error]
    failures: dict[str, str]


def _admitted(case: Case, bench: Bench, sets: Sequence[Inputs]) -> _Admitted:
    """Check everybody on the first set of inputs. Raises BenchmarkError for a kernel of ours that is wrong."""
    first = sets[0]
    truth = first.truth()
    found = _Admitted({OURS: [one.ours for one in sets]}, {}, {}, {})
    found.errors[OURS] = _checked(first.results(first.ours()), truth, case)
    compiled = torch.compile(case.formulas[EAGER], fullgraph=True, dynamic=False, **bench.compiling)
    for name, formula in {**case.formulas, COMPILED: compiled}.items():
        key = EAGER if name == COMPILED else name
        try:
            results = formula(*first.arguments[key])
            if case.comparable:
                found.errors[name] = _checked(results, truth, case)
            if name != COMPILED:
                found.operations[name] = operations(partial(formula, *first.arguments[name]))
            found.calls[name] = [partial(formula, *one.arguments[key]) for one in sets]
        except Exception as error:  # a baseline that breaks, in whatever way, must not cost the other times
            found.failures[name] = _reason(error)
    found.calls[COPY] = _copies(bench.device, first.bytes, len(sets))
    return found


def _prepared(clock: Clock, contestants: Mapping[str, Sequence[Call]], failures: dict[str, str]) -> dict[str, Run]:
    """Runs of all contestants; a baseline that this clock cannot run goes to the failures."""
    runs = {}
    for name, calls in contestants.items():
        try:
            runs[name] = clock.prepare(calls)
        except Exception as error:
            if name in (OURS, COPY):
                raise
            failures[name] = _reason(error)
    return runs


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def operations(call: Callable[[], object]) -> int:
    """PyTorch operations of a call that read or write memory: views and empty tensors do not."""

    class Counter(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
            self.count += not (function.is_view or "empty" in function.name())
            return function(*arguments, **(options or {}))

    with Counter() as counter:
        call()
    return counter.count


def _checked(results: Tensors, truth: Tensors, case: Case) -> Error:
    """The error of results. Raises BenchmarkError if they are not those of the reference."""
    worst = Error(0.0, 0.0)
    for result, exact in zip(results, truth, strict=True):
        if result.shape != exact.shape:
            raise BenchmarkError(f"{case.title}: a result has shape {tuple(result.shape)}, not {tuple(exact.shape)}")
        away = result.double() - exact.double()
        relative = (away.norm() / exact.double().norm().clamp(min=1e-30)).item()
        if not relative <= case.tolerance:  # nor is NaN
            raise BenchmarkError(f"{case.title}: differs by {relative:.1e} from the reference, not {case.tolerance:g}")
        worst = Error(max(worst.max_abs, away.abs().max().item()), max(worst.relative, relative))
    return worst


def _copies(device: torch.device, moved: int, calls: int) -> list[Call]:
    """Copies that read and write `moved` bytes together."""

    def copy(target: Tensor, source: Tensor) -> Tensors:
        return (target.copy_(source),)

    def anything() -> Tensor:  # zeros may move faster than data
        return torch.randint(256, (moved // 2,), dtype=torch.uint8, device=device)

    return [partial(copy, anything(), anything()) for _ in range(calls)]
