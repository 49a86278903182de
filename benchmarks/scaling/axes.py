"""The points of every axis: what to run, and how close to the reference it comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from shadowdiffusion.benchmarks.baselines.setting import Array, Setting
from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.latency.ablation import BUNDLE, Engines, restoring
from shadowdiffusion.benchmarks.latency.racing import LEAST_DB, Run, worst_psnr
from shadowdiffusion.benchmarks.latency.reference import ReferenceLoop
from shadowdiffusion.benchmarks.measurement.workers import Worker
from shadowdiffusion.benchmarks.models.subject import Subject
from shadowdiffusion.benchmarks.scaling.record import Axis
from shadowdiffusion.benchmarks.session import Session


@dataclass(frozen=True)
class Amounts:
    """What to try of every axis, and what all others have."""

    sides: Sequence[int] = (128, 192, 256, 384, 512)
    batches: Sequence[int] = (1, 2, 4, 8)
    steps: Sequence[int] = (1, 2, 5, 10, 25)
    side: int = 256
    few_steps: int = 5


SMOKE = Amounts((16, 24, 32), (1, 2, 3), (1, 2, 3), 16, 1)


@dataclass(frozen=True)
class Ready:
    """Runs by amount, each checked, and what they have in common."""

    runs: dict[int, Run]
    psnr: dict[int, float | None]
    base: Setting


@contextmanager
def ready(axis: Axis, session: Session, subject: Subject, amounts: Amounts) -> Iterator[Ready]:
    """The points of one axis, as long as the block lasts. Raises BenchmarkError and Unavailable."""
    bench = session.bench
    base = bench.setting(subject, amounts.side, 1, amounts.few_steps)
    if axis == "processes":
        with _processes(session, base) as found:
            yield found
        return
    settings = {
        "pixels": lambda: {side * side: bench.setting(subject, side, 1, base.steps) for side in amounts.sides},
        "batch": lambda: {count: bench.setting(subject, amounts.side, count, base.steps) for count in amounts.batches},
        "steps": lambda: {steps: bench.setting(subject, amounts.side, 1, steps) for steps in amounts.steps},
        "threads": lambda: {count: replace(base, threads=count) for count in counts(bench.threads)},
    }[axis]()
    found, engines = Ready({}, {}, base), Engines((), session.report)
    for amount, setting in settings.items():
        session.report(f"preparing {amount} {axis}")
        loop = engines.loop(BUNDLE, setting)
        run = restoring(setting, loop)
        found.psnr[amount] = _quality(run(), setting, f"{amount} {axis}")
        found.runs[amount] = run
    yield found


def counts(most: int) -> list[int]:
    """1, 2, 4 ... and the most."""
    return sorted({most, *(2**power for power in range(most.bit_length()) if 2**power <= most)})


def _quality(result: Array, setting: Setting, what: str) -> float:
    reference = ReferenceLoop(setting.subject, setting.device)
    truth = reference.restore(setting.images, setting.masks, setting.table, setting.seeds).image
    found = worst_psnr(result, truth)
    if not found >= LEAST_DB:
        raise BenchmarkError(f"{what}: the result is {found:.1f} dB from the reference, {LEAST_DB:g} dB are needed")
    return found


@contextmanager
def _processes(session: Session, base: Setting) -> Iterator[Ready]:
    """Processes that have the bundle open; a run lets some of them restore an image each, at once."""
    many = counts(session.bench.threads if not session.options.smoke else 2)
    with ExitStack() as stack:
        session.report(f"starting {many[-1]} processes")
        pool = [stack.enter_context(Worker(base.subject.bundle.path, session.bench.device, 1)) for _ in range(many[-1])]

        def run(count: int) -> Run:
            def restore() -> None:
                for worker in pool[:count]:
                    worker.ask(base.images.shape[2], 1, base.steps)
                for worker in pool[:count]:
                    worker.answer()

            return restore

        yield Ready({count: run(count) for count in many}, dict.fromkeys(many), base)
