"""`shadowdiffusion bench latency`: measure one thing after the other, show it, store it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic

from shadowdiffusion.benchmarks.baselines.setting import Contestant, Unavailable
from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.latency import record as races
from shadowdiffusion.benchmarks.latency import stage_record as stages
from shadowdiffusion.benchmarks.latency.ablation import Engines
from shadowdiffusion.benchmarks.latency.bench import Bench
from shadowdiffusion.benchmarks.latency.contestants import contestants, few
from shadowdiffusion.benchmarks.latency.measure import Job, race_images, race_photo, runs_photos, take_apart
from shadowdiffusion.benchmarks.latency.record import LatencyRecord
from shadowdiffusion.benchmarks.latency.stage_record import StageRecord
from shadowdiffusion.benchmarks.latency.table import lines, stage_lines
from shadowdiffusion.benchmarks.models.subject import Subject
from shadowdiffusion.benchmarks.session import Options, Session

SCOPES = ("images", "photo", "stages")
Measure = Callable[[Job], LatencyRecord | StageRecord]


@dataclass(frozen=True)
class Request:
    """What was asked for; empty sequences stand for the usual."""

    options: Options
    sizes: Sequence[int] = ()
    batches: Sequence[int] = ()
    steps: Sequence[int] = ()
    scopes: Sequence[str] = ()
    contestants: Sequence[str] = ()


def run(request: Request, command: Sequence[str]) -> None:
    """Measure and store. Raises BenchmarkError at the end if anything is missing for another reason than time."""
    if unknown := [name for name in request.scopes if name not in SCOPES]:
        raise BenchmarkError(f"scope {unknown[0]!r} is unknown: choose from {', '.join(SCOPES)}")
    session = Session(request.options, command)
    engines = Engines(session.bench.engines, session.report)
    everybody = contestants(engines, request.contestants)
    for subject, last in session.models():
        plan = list(_plan(request, session.bench, subject, everybody))
        for place, (what, measure) in enumerate(plan):
            if session.over(what):
                break
            until = monotonic() + max(0.0, last - monotonic()) / (len(plan) - place)
            try:
                _keep(measure(Job(session.bench, session.header, until, session.report, engines)), session)
            except Unavailable as error:
                session.report(f"no {what}: {error}")
            except BenchmarkError as error:
                session.lost(what, error)
    session.close()


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


def _keep(found: LatencyRecord | StageRecord, session: Session) -> None:
    """Show and store a record, without what is noisy unless forced."""
    forced, noisy = session.options.force, len(found.noisy)
    if isinstance(found, LatencyRecord):
        race = found if forced else races.quiet(found)
        session.keep(races.KIND, race if race.entries else None, lines(race), noisy)
    else:
        parts = found if forced else stages.quiet(found)
        session.keep(stages.KIND, parts, stage_lines(parts) if parts else (), noisy)
