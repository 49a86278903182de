"""One photo from file to file: is it done already, whose turn is it, read, restore, write."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter

from shadowdiffusion.runtime.batch.claims import claim, release_abandoned
from shadowdiffusion.runtime.batch.extras import comparison, illumination_picture, mask_picture
from shadowdiffusion.runtime.batch.masks import Partners
from shadowdiffusion.runtime.batch.notes import Note, Notes, Origin
from shadowdiffusion.runtime.batch.outcome import Outcome
from shadowdiffusion.runtime.batch.plan import STDOUT, Job, Kind
from shadowdiffusion.runtime.batch.reading import read_bytes
from shadowdiffusion.runtime.batch.settings import Settings
from shadowdiffusion.runtime.batch.standing import hash_of, look, same_file
from shadowdiffusion.runtime.batch.stopping import Stop, Stopped
from shadowdiffusion.runtime.errors import PhotoError, RestoreError
from shadowdiffusion.runtime.loop.loop import Progress
from shadowdiffusion.runtime.photo import Format, Photo, encode_photo, read_photo, write_photo
from shadowdiffusion.runtime.photo.background import composed
from shadowdiffusion.runtime.photo.encoding import check_fit
from shadowdiffusion.runtime.photo.formats import check_sides, format_of, sniff
from shadowdiffusion.runtime.photo.reading import natural_format
from shadowdiffusion.runtime.working_photo import Restored

PATIENCE = 0.2
"""Seconds between looks at a photo that another process restores."""


class Worker:
    """Restores photos from file to file; may be called from several threads."""

    def __init__(
        self,
        restore: Callable[..., Restored],
        settings: Settings,
        stop: Stop,
        *,
        masks: Partners | None = None,
        cleans: Partners | None = None,
        format: Format | None = None,
        overwrite: bool = False,
        force: bool = False,
        on_step: Progress | None = None,
    ) -> None:
        """restore: a Restorer. cleans: estimates of the clean photos. format: of what goes to stdout, None for the
        photo's own. overwrite: replace what is something else; force: make again what is done.
        """
        self._restore = restore
        self._settings = settings
        self._stop = stop
        self._masks, self._cleans = masks, cleans
        self._format = format
        self._overwrite = overwrite
        self._force = force
        self._on_step = on_step
        self._notes: dict[str, Notes] = {}
        self._seen: set[str] = set()
        """Hashes of the photos of this run."""

    def __call__(self, job: Job, patient: bool = False) -> Outcome:
        """Restore one photo; whatever goes wrong is in the outcome. A photo that another process is at is "busy", or if
        `patient` is waited for. What an earlier run made is "busy" as well, until the photos have been seen.
        """
        started = perf_counter()
        outcome = Outcome(job.source, job.targets["photo"])
        try:
            self._process(job, patient, outcome)
        except Stopped:
            outcome.status = "dropped"
        except RestoreError as error:
            outcome.error = str(error)
        except MemoryError:
            outcome.error = "it does not fit into memory: choose fewer --jobs"
        except Exception as error:  # one photo must not end the others
            outcome.error = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
        outcome.seconds = perf_counter() - started
        return outcome

    def _process(self, job: Job, patient: bool, outcome: Outcome) -> None:
        started = perf_counter()
        self._stop.check()
        if self._comes_later(job, patient, outcome):
            return
        data = read_bytes(job.source, self._stop)
        sha256 = _sha256(data)
        if self._is_result(job, sha256):
            outcome.status = "result"
            return
        mask, clean = self._partner(self._masks, job), self._partner(self._cleans, job)
        outcome.mask, outcome.clean = mask.path, clean.path
        form = self._form(job, data)
        outcome.settings = self._settings.record(form)
        origin = Origin(sha256, mask.sha256, self._settings.bundle, outcome.settings, clean.sha256)
        if not self._wanted(job, origin, outcome):
            release_abandoned(*job.targets.values())
            outcome.status = "skipped"
            return
        photo = read_photo(data, name=_shown(job.source))
        if self._settings.strip_metadata:
            photo = photo.stripped()
        mask_photo, clean_photo = mask.decoded(), clean.decoded()
        outcome.height, outcome.width = photo.pixels.shape[:2]
        outcome.timings["read"] = perf_counter() - started
        del data, mask, clean  # they can be as large as the pixels
        with self._claimed(job, patient) as mine:
            if not mine:
                outcome.status = "busy"
                return
            wanted = self._wanted(job, origin, outcome)  # while waiting it may have been made
            if not wanted:
                outcome.status = "skipped"
                return
            self._check_fit(photo, wanted, job, form)
            restored = self._restore(
                photo,
                mask_photo,
                clean=clean_photo,
                **self._settings.arguments(),
                with_mask="mask" in wanted,
                progress=self._progress,
            )
            outcome.tile, outcome.used = restored.tile, restored.used
            outcome.notes += restored.notes
            outcome.timings |= {part: time for part, time in restored.timings.items() if part != "total"}
            self._write(wanted, photo, restored, origin, form, outcome)
        outcome.status = "restored"

    def _comes_later(self, job: Job, patient: bool, outcome: Outcome) -> bool:
        """Whether a photo that an earlier run made has to wait until the photos of this run have been seen."""
        if job.earlier is None or patient:
            return False
        self._seen.add(job.earlier.sha256)  # for what was made of it in turn
        outcome.status = "busy"
        return True

    def _is_result(self, job: Job, sha256: str) -> bool:
        """Whether a photo is what an earlier run made of another one of this run, or of another such result."""
        self._seen.add(sha256)
        earlier = job.earlier
        if earlier is None or earlier.sha256 != sha256:  # edited since, it is the user's own
            return False
        return earlier.origin.input in self._seen

    def _partner(self, partners: Partners | None, job: Job) -> "_Partner":
        if partners is None:
            return _Partner()
        path = partners.of(job)
        return _Partner(f"{partners.kind} {path}", path, read_bytes(path, self._stop))

    def _wanted(self, job: Job, origin: Origin, outcome: Outcome) -> dict[Kind, tuple[str, bool]]:
        """What to write where, and whether that replaces something; the photo comes last, so that if it is there, all
        is. Raises PhotoError where something else would be lost.
        """
        wanted: dict[Kind, tuple[str, bool]] = {}
        for kind, path in reversed(job.targets.items()):
            if path == STDOUT:
                wanted[kind] = (path, False)
                continue
            for what, given in (("mask", outcome.mask), ("clean estimate", outcome.clean)):
                if given is not None and same_file(path, given):
                    raise PhotoError(f"cannot write {path}: it is the {what}")
            place = look(path, origin, self._notes_beside(path), job.source)
            if place.standing == "other" and not self._overwrite:
                raise PhotoError(f"cannot write {path}: {place.what} (--overwrite replaces it)")
            if place.standing != "done" or self._force:
                wanted[kind] = (path, place.standing != "absent")
        return wanted

    def _write(
        self,
        wanted: dict[Kind, tuple[str, bool]],
        photo: Photo,
        restored: Restored,
        origin: Origin,
        form: Format,
        outcome: Outcome,
    ) -> None:
        started = perf_counter()
        for kind, (path, replaces) in wanted.items():
            picture = self._picture(kind, photo, restored, form)
            if path == STDOUT:
                outcome.picture = encode_photo(picture, form, self._settings.quality_in(form))
                continue
            quality = self._settings.quality_in(format_of(Path(path)))
            write_photo(path, picture, replaces, quality=quality, finished=partial(self._note, path, origin, outcome))
            if kind != "photo":
                outcome.extras[kind] = path
        outcome.timings["write"] = perf_counter() - started

    def _check_fit(self, photo: Photo, wanted: Iterable[Kind], job: Job, form: Format) -> None:
        """Raise PhotoError, before the networks run, for what could not be written after them."""
        if "photo" in wanted:
            check_fit(self._opaque(photo, form), form, f"write {job.targets['photo']}")
        if "compare" in wanted:
            check_sides(photo.pixels.shape, "jpeg", f"write {job.targets['compare']}")

    def _opaque(self, photo: Photo, form: Format) -> Photo:
        """The photo on its background, if one was asked for and the format needs one."""
        background = self._settings.background
        return composed(photo, background) if background is not None and form == "jpeg" else photo

    def _picture(self, kind: Kind, photo: Photo, restored: Restored, form: Format) -> Photo:
        if kind == "photo":
            return self._opaque(replace(photo, pixels=restored.image), form)
        if kind == "compare":
            after = self._opaque(replace(photo, pixels=restored.image), "jpeg")
            return comparison(self._opaque(photo, "jpeg"), after.pixels)
        if kind == "illumination":
            return illumination_picture(restored.illumination, *photo.pixels.shape[:2])
        assert restored.mask is not None  # it was asked for
        return mask_picture(restored.mask)

    def _note(self, path: str, origin: Origin, outcome: Outcome, file: Path) -> None:
        """Note what the file that is about to become `path` was made from."""
        try:
            self._notes_beside(path).add(
                os.path.basename(path), Note(hash_of(file), origin, outcome.used and outcome.used._asdict())
            )
        except OSError as error:
            outcome.notes.append(f"{path} will not be known as done: {error.strerror or error}")

    def _notes_beside(self, path: str) -> Notes:
        folder = os.path.dirname(path)
        return self._notes.setdefault(folder, Notes(folder))

    def _form(self, job: Job, data: bytes) -> Format:
        """The format of the restored photo."""
        if not job.into_stdout:
            return format_of(Path(job.targets["photo"]))
        sniff(data[:16], _shown(job.source))  # complain before anything else
        return self._format or natural_format(data)

    def _progress(self, done: int, steps: int) -> None:
        self._stop.check()
        if self._on_step is not None:
            self._on_step(done, steps)

    @contextmanager
    def _claimed(self, job: Job, patient: bool) -> Iterator[bool]:
        """Keep other processes from making the same; False if one is at it."""
        if job.into_stdout:
            yield True
            return
        target = job.targets["photo"]
        try:
            os.makedirs(os.path.dirname(target) or os.curdir, exist_ok=True)
            for target in job.targets.values():
                with suppress(FileNotFoundError):
                    os.lstat(target)  # now, not after the networks, as for a name that is too long
            target = job.targets["photo"]
            mine = claim(*job.targets.values())
            while mine is None and patient:
                self._stop.check()
                time.sleep(PATIENCE)
                mine = claim(*job.targets.values())
        except OSError as error:
            raise PhotoError(f"cannot write {target}: {error.strerror}") from error
        try:
            yield mine is not None
        finally:
            if mine is not None:
                mine.release()


@dataclass(frozen=True)
class _Partner:
    """The mask, or the clean estimate, of a photo, if it has one."""

    name: str = ""
    path: str | None = None
    data: bytes | None = None

    @property
    def sha256(self) -> str | None:
        return None if self.data is None else _sha256(self.data)

    def decoded(self) -> Photo | None:
        return None if self.data is None else read_photo(self.data, name=self.name)


def _shown(source: str) -> str:
    return "stdin" if source == "-" else source


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
