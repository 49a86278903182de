"""A stand-in for the Restorer, so that tests of the batch need no bundle, and small files to feed it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from shadowdiffusion.runtime.batch.inputs import Inputs
from shadowdiffusion.runtime.batch.outcome import Outcome
from shadowdiffusion.runtime.batch.plan import Job, Wanted, plan
from shadowdiffusion.runtime.batch.settings import Settings
from shadowdiffusion.runtime.batch.stopping import Stop
from shadowdiffusion.runtime.batch.work import Worker
from shadowdiffusion.runtime.photo import Photo
from shadowdiffusion.runtime.working_photo import Restored
from tests.runtime.tiny import picture, save

SETTINGS = Settings(bundle="b", steps=2, seed=0, strength=1.0, working_size=48, quality=None)


class FakeRestorer:
    """Inverts photos, and counts them."""

    def __init__(self, during: Callable[[], None] | None = None) -> None:
        self.calls = 0
        self.arguments: dict[str, Any] = {}
        self._during = during
        self._lock = Lock()

    def __call__(self, photo: Photo, mask: Photo | None = None, **arguments: Any) -> Restored:
        with self._lock:
            self.calls += 1
            self.arguments = {**arguments, "mask": mask}
        if self._during is not None:
            self._during()
        arguments["progress"](1, 2)
        height, width = photo.pixels.shape[:2]
        whole = np.iinfo(photo.pixels.dtype).max
        plane = np.full((height, width), 0.5, np.float32) if arguments["with_mask"] else None
        light = np.full((2, 2, 3), 0.5, np.float32)
        return Restored(whole - photo.pixels, plane, light, None, {"diffusion": 0.0, "total": 0.0}, notes=photo.notes)


def jobs_of(*arguments: object, output: Path | None = None, **wanted: Any) -> list[Job]:
    """The jobs of a command line without problems."""
    inputs = Inputs([str(argument) for argument in arguments])
    jobs, problems = plan(inputs.found, Wanted(str(output) if output else None, **wanted))
    assert not inputs.problems
    assert not problems
    return jobs


def worker(restorer: FakeRestorer | None = None, settings: Settings = SETTINGS, **options: Any) -> Worker:
    return Worker(restorer or FakeRestorer(), settings, options.pop("stop", Stop()), **options)


def restored(job: Job, restorer: FakeRestorer | None = None, **options: Any) -> Outcome:
    return worker(restorer, **options)(job)


def photo_at(path: Path, seed: int = 0, size: tuple[int, int] = (6, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return save(path, picture(*size, seed=seed))
