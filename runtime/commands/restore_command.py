"""`shadowdiffusion restore`: from the command line to what `runtime.batch` does, and its exit code."""

import sys
from contextlib import nullcontext
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import typer

from shadowdiffusion.runtime.commands import restore_options as options
from shadowdiffusion.runtime.commands.console import complain
from shadowdiffusion.runtime.errors import RestoreError

if TYPE_CHECKING:
    from shadowdiffusion.runtime.bundle.engines import Device, Precision
    from shadowdiffusion.runtime.bundle.folder import Task
    from shadowdiffusion.runtime.restorer import Restorer
    from shadowdiffusion.runtime.selection.selection import Backend


def restore(
    photos: options.Photos,
    output: options.Output = None,
    format: options.Format = None,
    quality: options.Quality = None,
    background: options.Background = None,
    strip_metadata: options.StripMetadata = False,
    compare: options.Compare = False,
    save_mask: options.SaveMask = None,
    save_illumination: options.SaveIllumination = None,
    mask: options.Mask = None,
    clean: options.Clean = None,
    strength: options.Strength = 1.0,
    steps: options.Steps = None,
    seed: options.Seed = 0,
    working_size: options.WorkingSize = None,
    native: options.Native = False,
    task: options.Task = None,
    bundle: options.BundlePath = None,
    backend: options.Backend = "auto",
    device: options.Device = "auto",
    precision: options.Precision = None,
    engine: options.Engine = None,
    threads: options.Threads = None,
    jobs: options.Jobs = 3,  # one is read, one in the networks, one written
    overwrite: options.Overwrite = False,
    force: options.Force = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Restore photos of any size, one or many thousands."""
    from shadowdiffusion.runtime.batch.flight import restore_all
    from shadowdiffusion.runtime.batch.inputs import Inputs
    from shadowdiffusion.runtime.batch.masks import Partners
    from shadowdiffusion.runtime.batch.outcome import Outcome
    from shadowdiffusion.runtime.batch.plan import Job, Wanted, plan
    from shadowdiffusion.runtime.batch.report import Report
    from shadowdiffusion.runtime.batch.settings import Settings
    from shadowdiffusion.runtime.batch.stopping import Stop, stopped_by_signals
    from shadowdiffusion.runtime.batch.video_work import VideoWorker
    from shadowdiffusion.runtime.batch.work import Worker
    from shadowdiffusion.runtime.file_locks import check_locks
    from shadowdiffusion.runtime.photo import check_encoding
    from shadowdiffusion.runtime.video.frames import is_video

    check_locks()
    if native and working_size is not None:
        raise RestoreError(f"--native means the photo's own size: leave out --working-size {working_size}")
    if format is not None:
        check_encoding(format, quality)
    wanted = Wanted(output, save_mask, save_illumination, compare, format)
    masks = Partners(mask, "mask") if mask is not None else None
    cleans = Partners(clean, "clean estimate") if clean is not None else None
    inputs = Inputs(photos, [*wanted.folders, *(path for path in (mask, clean) if path)])
    work, unplaced = plan(masks.without(inputs.found) if masks else inputs.found, wanted)
    if cleans is not None and cleans.folder is None and len(work) > 1:
        raise RestoreError(f"--clean {clean} is one file for {len(work)} photos: give a folder of estimates")
    into_stdout = any(job.into_stdout for job in work)
    if into_stdout:
        _check_stdout(json)

    stop = Stop()
    problems = [*inputs.problems, *unplaced]
    report = Report(
        len(work) + len(problems), stop, lines=not (quiet or json or into_stdout), records=json, notes=not quiet
    )
    if work:
        restorer = _open(bundle, task, backend, device, threads, precision, engine)
        written = quality, background, strip_metadata
        settings = Settings.of(restorer.bundle, steps, seed, strength, working_size, native, *written)
        choices: dict[str, Any] = {"overwrite": overwrite, "force": force, "on_step": report.step}
        choices |= {"masks": masks, "cleans": cleans}
        photo_worker = Worker(restorer, settings, stop, format=format, **choices)
        video_worker = VideoWorker(restorer, settings, stop, **choices)

        def work_on(job: Job, patient: bool = False) -> Outcome:
            return (video_worker if is_video(job.source) else photo_worker)(job, patient)

    if not quiet:
        for line in inputs.passed_over():
            complain(line, "note")
    for problem in problems:
        report.refuse(problem)
    if work:
        on_terminal = sys.stderr.isatty() and not quiet
        with stopped_by_signals(stop), report.bar(work[0].inner) if on_terminal else nullcontext():
            for outcome in restore_all(work, work_on, jobs, stop):
                report.add(outcome)
    raise typer.Exit(report.end())


def _open(
    bundle: str | None,
    task: "Task | None",
    backend: "Backend",
    device: "Device",
    threads: int | None,
    precision: "Precision | None",
    engine: str | None,
) -> "Restorer":
    """The Restorer that was asked for, with one photo at a time in its networks."""
    from shadowdiffusion.runtime.batch.turns import OneAtATime
    from shadowdiffusion.runtime.bundle.opening import built_in
    from shadowdiffusion.runtime.selection.loading import load

    path = built_in(task) if task and bundle is None else bundle
    restorer = load(path, backend, device, threads, lambda line: complain(line, "note"), precision, engine)
    if task not in (None, restorer.bundle.manifest.task):
        raise RestoreError(f"bundle {bundle} is for {restorer.bundle.manifest.task}, not for --task {task}")
    return restorer.through(partial(OneAtATime, turn=Lock()))


def _check_stdout(json: bool) -> None:
    """Raise RestoreError unless a picture can go to stdout."""
    if json:
        raise RestoreError("--json and a restored photo cannot both go to stdout: name a file with -o")
    if sys.stdout is None or sys.stdout.isatty():
        raise RestoreError("a restored photo does not go to a terminal: name a file with -o, or redirect stdout")
