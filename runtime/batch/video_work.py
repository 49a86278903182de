"""One video from file to file, as `runtime.batch.work` does photos: skipped if it is done, claimed, restored, noted."""

from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from shadowdiffusion.runtime.batch.notes import Origin
from shadowdiffusion.runtime.batch.outcome import Outcome
from shadowdiffusion.runtime.batch.plan import Job
from shadowdiffusion.runtime.batch.settings import Settings
from shadowdiffusion.runtime.batch.standing import hash_of
from shadowdiffusion.runtime.batch.stopping import Stop
from shadowdiffusion.runtime.batch.work import Worker
from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo.pixels import Pixels
from shadowdiffusion.runtime.restorer import Restorer
from shadowdiffusion.runtime.video.frames import restore_video
from shadowdiffusion.runtime.video.steady import SteadyLoop


class VideoWorker(Worker):
    """Restores videos; frames have the same noise, and light that is steady in time."""

    def __init__(self, restorer: Restorer, settings: Settings, stop: Stop, **options: Any) -> None:
        """As `Worker`; of a Restorer, only the loop and the bundle are used."""
        super().__init__(restorer, settings, stop, **options)
        self._restorer = restorer

    def _process(self, job: Job, patient: bool, outcome: Outcome) -> None:
        started = perf_counter()
        self._stop.check()
        if self._cleans is not None:
            raise PhotoError(f"{job.source} is a video: a clean estimate goes with a photo only")
        if self._comes_later(job, patient, outcome):
            return
        sha256 = hash_of(job.source)
        if self._is_result(job, sha256):
            outcome.status = "result"
            return
        given = self._partner(self._masks, job)
        mask = given.decoded()
        quality = self._settings.quality
        outcome.mask, outcome.settings = given.path, self._settings.record(None)
        origin = Origin(sha256, given.sha256, self._settings.bundle, outcome.settings)
        with self._claimed(job, patient) as mine:
            if not mine:
                outcome.status = "busy"
                return
            wanted = self._wanted(job, origin, outcome)
            if not wanted:
                outcome.status = "skipped"
                return
            target, replaces = wanted["photo"]
            restorer = self._restorer.through(SteadyLoop)

            def restore(frame: Pixels) -> Pixels:
                self._stop.check()
                outcome.height, outcome.width = frame.shape[:2]
                restored = restorer(frame, mask, **self._settings.arguments(), with_mask=False)
                outcome.tile, outcome.used = restored.tile, restored.used
                outcome.notes += (note for note in restored.notes if note not in outcome.notes)
                return restored.image

            note = partial(self._note, target, origin, outcome)
            outcome.timings["read"] = perf_counter() - started
            frames_from = perf_counter()
            restore_video(
                Path(job.source),
                Path(target),
                restore,
                overwrite=replaces,
                quality=quality,
                progress=self._progress,
                finished=note,
                with_metadata=not self._settings.strip_metadata,
            )
            outcome.timings["frames"] = perf_counter() - frames_from
        outcome.status = "restored"
