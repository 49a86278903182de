"""One record each: a race of loops, a race of Restorers on a photo, the parts of a loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from shadowdiffusion.benchmarks.baselines.setting import Array, Contestant, Setting
from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.latency.ablation import BUNDLE, Engines, restoring
from shadowdiffusion.benchmarks.latency.bench import Bench
from shadowdiffusion.benchmarks.latency.racing import Admitted, Run, admit, energy, timed, worst_psnr
from shadowdiffusion.benchmarks.latency.record import IMAGES, PHOTO, Entry, LatencyRecord
from shadowdiffusion.benchmarks.latency.reference import ReferenceLoop
from shadowdiffusion.benchmarks.latency.stage_record import Stage, StageRecord
from shadowdiffusion.benchmarks.latency.stages import WHOLE, parts
from shadowdiffusion.benchmarks.measurement.distribution import distribution
from shadowdiffusion.benchmarks.measurement.machine import Header, gpu_uuid
from shadowdiffusion.benchmarks.measurement.memory import peak_mib
from shadowdiffusion.export.photos import ellipse, synthetic
from shadowdiffusion.export.verify import psnr
from shadowdiffusion.runtime.loop.loop import Loop
from shadowdiffusion.runtime.photo import Photo
from shadowdiffusion.runtime.restorer import Restorer

Report = Callable[[str], None]

ENERGY_SECONDS = 2.0
"""For which every contestant runs to count its energy."""


@dataclass(frozen=True)
class Job:
    """What every record of a run shares, and when this one should be done, in seconds of `time.monotonic`."""

    bench: Bench
    header: Header
    until: float
    report: Report
    engines: Engines


def race_images(job: Job, setting: Setting, contestants: Sequence[Contestant]) -> LatencyRecord:
    """Race contestants on the setting's images. Raises BenchmarkError if nobody computes the right thing."""
    job.report("running the reference sampler")
    reference = ReferenceLoop(setting.subject, setting.device)
    truth = reference.restore(setting.images, setting.masks, setting.table, setting.seeds).image
    prepared = [(contestant, partial(contestant.prepare, setting)) for contestant in contestants]
    admitted = admit(prepared, partial(worst_psnr, truth=truth), setting.device, job.report)
    return _raced(job, setting, contestants, admitted, None)


def race_photo(job: Job, setting: Setting, contestants: Sequence[Contestant]) -> LatencyRecord:
    """Race the Restorers of those contestants that are ours and run as users run them, on one decoded photo.

    Raises BenchmarkError as `race_images`.
    """
    pixels, mask = _scene(*job.bench.photo)
    photo = Photo(pixels)

    def restoring(make: Callable[[], Loop]) -> Run:
        loop, size = make(), setting.images.shape[2]
        restorer = Restorer(setting.subject.bundle, loop, native_loop=loop)  # which nobody asks for
        return lambda: restorer(photo, mask, steps=setting.steps, working_size=size, with_mask=False).image

    job.report(f"running the reference sampler on a photo of {photo.pixels.shape[1]}x{photo.pixels.shape[0]} pixels")
    truth = _unit(restoring(partial(ReferenceLoop, setting.subject, setting.device))())
    chosen = [each for each in contestants if runs_photos(each)]
    prepared = [(each, partial(restoring, partial(job.engines.loop, each.name, setting))) for each in chosen]
    admitted = admit(prepared, lambda result: psnr(_unit(result), truth), setting.device, job.report)
    return _raced(job, setting, chosen, admitted, (pixels.shape[1], pixels.shape[0]))


def runs_photos(contestant: Contestant) -> bool:
    """Whether `restore` may choose it."""
    return contestant.ours and contestant.name.startswith((BUNDLE, "engine"))


def take_apart(job: Job, setting: Setting, name: str) -> StageRecord:
    """The parts of the loop of one contestant of ours, by name. Raises Unavailable and BenchmarkError."""
    job.report(f"taking apart the loop of {name}")
    photo, _ = _scene(*job.bench.photo)
    loop = job.engines.loop(name, setting)
    found = parts(setting, loop, photo)
    reference = ReferenceLoop(setting.subject, setting.device)
    truth = reference.restore(setting.images[:1], setting.masks[:1], setting.table, setting.seeds[:1]).image
    quality = worst_psnr(restoring(setting, loop)()[:1], truth=truth)
    runs = {key: part.run for key, part in found.items()}
    each = {key: _milliseconds(run) for key, run in runs.items()}
    race = timed(runs, job.bench.effort(job.until - monotonic(), sum(each.values()), len(runs)), setting.device)
    stages = {key: Stage(key, part.title, part.times, distribution(race.samples[key])) for key, part in found.items()}
    whole = stages.pop(WHOLE).ms
    in_loop = [stage for key, stage in stages.items() if found[key].in_loop]
    explained = sum(stage.times * stage.ms.p50 for stage in in_loop)
    return StageRecord(
        header=job.header,
        model=setting.subject.facts,
        contestant=name,
        device=job.bench.device,
        size=setting.images.shape[2],
        photo=(photo.shape[1], photo.shape[0]),
        steps=setting.steps,
        threads=setting.threads,
        rounds=len(race.samples[WHOLE]),
        warm_up=race.warm_up,
        psnr=quality,
        whole=whole,
        in_loop=in_loop,
        around=[stage for key, stage in stages.items() if not found[key].in_loop],
        unexplained=1 - explained / whole.p50,
        noisy=race.noisy,
    )


def _raced(
    job: Job,
    setting: Setting,
    contestants: Sequence[Contestant],
    admitted: Admitted,
    photo: tuple[int, int] | None,
) -> LatencyRecord:
    """Time those who were admitted, and put everything together."""
    if not admitted.runs:
        name, reason = next(iter(admitted.failures.items()))
        raise BenchmarkError(f"no contestant can race; {name}: {reason}")
    uuid = gpu_uuid(setting.device) if setting.device.type == "cuda" else None
    effort = job.bench.effort(job.until - monotonic(), sum(admitted.ms.values()), len(admitted.runs))
    job.report(f"racing {len(admitted.runs)} contestants in {effort.least} to {effort.most} rounds")
    race = timed(admitted.runs, effort, setting.device)
    batch = 1 if photo else len(setting.images)
    spent = energy(admitted.runs, uuid, batch, ENERGY_SECONDS)
    entries = [
        Entry(
            each.name,
            each.title,
            each.parent,
            each.exact,
            each.ours,
            [round(sample, 4) for sample in race.samples[each.name]],
            distribution(race.samples[each.name]),
            admitted.psnr[each.name],
            admitted.device_mib[each.name],
            spent[each.name],
        )
        for each in contestants
        if each.name in admitted.runs
    ]
    return LatencyRecord(
        header=job.header,
        model=setting.subject.facts,
        scope=PHOTO if photo else IMAGES,
        device=job.bench.device,
        size=setting.images.shape[2],
        photo=photo,
        batch=batch,
        steps=setting.steps,
        threads=setting.threads,
        warm_up=race.warm_up,
        rounds=len(entries[0].samples),
        pause=effort.pause,
        compile_mode=setting.compile_mode,
        entries=entries,
        host_mib=peak_mib(),
        failures=admitted.failures,
        noisy=race.noisy,
    )


def _scene(height: int, width: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """A photo uint8 [H, W, 3] and its mask uint8 [H, W]."""
    photo, mask = synthetic(height, width), ellipse(height, width)[0, 0]
    return _bytes(photo.transpose(1, 2, 0)), _bytes(mask)


def _bytes(values: Array) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(np.rint(255 * values).astype(np.uint8))


def _unit(pixels: npt.NDArray[Any]) -> Array:
    """uint8 [H, W, 3] -> float32 in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(255)


def _milliseconds(run: Run) -> float:
    started = monotonic()
    run()
    return 1e3 * (monotonic() - started)
