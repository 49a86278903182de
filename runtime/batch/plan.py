"""Where the results of each photo go, and that no two of them, nor any photo, end up in one place."""

import mimetypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from typing import Literal

from shadowdiffusion.runtime.batch.inputs import ADDED, STDIN, Found, Problem, is_earlier_result
from shadowdiffusion.runtime.batch.notes import Note, Notes
from shadowdiffusion.runtime.batch.standing import same_file
from shadowdiffusion.runtime.errors import RestoreError
from shadowdiffusion.runtime.photo import SUFFIXES, Format, suffix_of
from shadowdiffusion.runtime.photo.formats import RAW_SUFFIXES, READ_ONLY_SUFFIXES, format_of
from shadowdiffusion.runtime.photo.reading import natural_format
from shadowdiffusion.runtime.video.frames import CODECS, is_video

Kind = Literal["photo", "mask", "illumination", "compare"]
STDOUT = "-"
RESULT, MASK, ILLUMINATION, COMPARE = ADDED


@dataclass(frozen=True)
class Wanted:
    """What to write, as the command line says: a file for a single photo, a folder for any number; None: nothing,
    except for the photo itself, which then goes beside its original.
    """

    photo: str | None = None
    mask: str | None = None
    illumination: str | None = None
    compare: bool = False
    format: Format | None = None
    """Of the photo; None: the original's."""

    @property
    def folders(self) -> list[str]:
        """The folders among them."""
        return [path for path in (self.photo, self.mask, self.illumination) if path and not _is_file(path)]


@dataclass(frozen=True, slots=True)
class Job:
    """One photo, or video, to restore."""

    source: str
    inner: str
    targets: dict[Kind, str]
    """Where to write what; for the photo "-" is stdout."""
    earlier: Note | None = None
    """What the photo was made from, where an earlier run made it and it was not named: it is passed over if that is
    among the photos of this run.
    """

    @property
    def into_stdout(self) -> bool:
        """Whether the restored photo goes to stdout."""
        return self.targets["photo"] == STDOUT


def plan(found: Sequence[Found], wanted: Wanted) -> tuple[list[Job], list[Problem]]:
    """A job for every photo, but for those that cannot be written anywhere, with the reason.

    A photo that is what an earlier run made of another one is left out. Raises RestoreError for places that cannot be
    meant.
    """
    _check(wanted, len(found))
    jobs, problems = list[Job](), list[Problem]()
    notes = cache(Notes)
    for photo in found:
        try:
            targets = _targets(photo, wanted)
            folder, name = os.path.split(photo.path)
            in_place = same_file(targets["photo"], photo.path)  # it is done, and not something else
            earlier = None if photo.named or in_place else notes(folder).of(name)
            jobs.append(Job(photo.path, photo.inner, targets, earlier))
        except RestoreError as error:
            problems.append(Problem(photo.path, str(error)))
    return _without_conflicts(jobs, {photo.path: photo.real for photo in found}, problems)


def _without_conflicts(
    jobs: list[Job], inputs: dict[str, str], problems: list[Problem]
) -> tuple[list[Job], list[Problem]]:
    """A conflict is the later job's, and only where it could cost a file: a photo that an earlier run made of another
    one may be written again, so it gives way.
    """
    real_folder = cache(os.path.realpath)

    def place(path: str) -> str:  # a link counts as itself: it would be replaced, not followed
        return os.path.join(real_folder(os.path.dirname(path)), os.path.basename(path))

    places = {place(target) for job in jobs for target in job.targets.values()}
    results = {job.source for job in jobs if is_earlier_result(job.inner) and inputs[job.source] in places}
    owners = {real: path for path, real in inputs.items() if path not in results}
    taken: dict[str, str] = {}
    kept = []
    for job in jobs:
        if job.source in results:
            continue
        mine = {place(target): target for target in job.targets.values()}
        if double := [name for name in mine if name in taken]:
            other = f"as is the result of {taken[double[0]]}: name different folders"
            problems.append(Problem(job.source, f"would be written to {mine[double[0]]}, {other}"))
        elif lost := [name for name in mine if owners.get(name, job.source) != job.source]:
            problems.append(Problem(job.source, f"would be written to {mine[lost[0]]}, which is to be restored itself"))
        elif len(mine) < len(job.targets):
            problems.append(Problem(job.source, "two of its results have the same name"))
        else:
            taken.update(dict.fromkeys(mine, job.source))
            kept.append(job)
    return kept, problems


def _targets(photo: Found, wanted: Wanted) -> dict[Kind, str]:
    targets: dict[Kind, str] = {"photo": _result(photo, wanted)}
    if is_video(photo.path):
        if wanted.compare or wanted.mask or wanted.illumination or targets["photo"] == STDOUT:
            raise RestoreError("of a video, only the result can be written, to a file")
        return targets
    if wanted.compare:
        if targets["photo"] == STDOUT:
            raise RestoreError("its picture for comparison has no place beside stdout: name the result with -o")
        targets["compare"] = f"{os.path.splitext(targets['photo'])[0].removesuffix(RESULT)}{COMPARE}.jpg"
    if wanted.mask is not None:
        targets["mask"] = _extra(photo, wanted.mask, MASK)
    if wanted.illumination is not None:
        targets["illumination"] = _extra(photo, wanted.illumination, ILLUMINATION)
    return targets


def _result(photo: Found, wanted: Wanted) -> str:
    if wanted.photo == STDOUT or (wanted.photo is None and photo.path == STDIN):
        return STDOUT
    if wanted.photo is not None and _is_file(wanted.photo):
        return wanted.photo
    stem, suffix = os.path.splitext(photo.inner)
    if is_video(photo.path):
        suffix = suffix if suffix.lower() in CODECS else ".mp4"
    elif wanted.format is not None and SUFFIXES.get(suffix.lower()) != wanted.format:
        suffix = suffix_of(wanted.format)
    elif wanted.format is None and suffix.lower() in READ_ONLY_SUFFIXES:
        suffix = suffix_of(natural_format(photo.path))
    elif suffix.lower() in RAW_SUFFIXES:
        raise RestoreError("it is a camera's raw file: develop it first, and restore the TIFF or JPEG")
    elif suffix.lower() not in SUFFIXES:
        raise RestoreError(f"its name ends in none of {', '.join(SUFFIXES)}: say with --format what to write")
    if wanted.photo is None:
        return os.path.join(os.path.dirname(photo.path), f"{os.path.basename(stem)}{RESULT}{suffix}")
    return os.path.join(wanted.photo, f"{stem}{suffix}")


def _extra(photo: Found, where: str, added: str) -> str:
    return where if _is_file(where) else os.path.join(where, f"{os.path.splitext(photo.inner)[0]}{added}.png")


def _check(wanted: Wanted, count: int) -> None:
    named = {"--output": wanted.photo, "--save-mask": wanted.mask, "--save-illumination": wanted.illumination}
    for option, path in named.items():
        if path is None:
            continue
        if path == STDOUT and option != "--output":
            raise RestoreError(f"{option} cannot go to stdout: name a file or a folder")
        if _is_file(path) and count > 1:
            raise RestoreError(f"{option} {path} is one file for {count} photos: name a folder")
        if not _is_file(path) and os.path.exists(path) and not os.path.isdir(path):
            raise RestoreError(f"{option} {path} is a file whose name tells no format: {', '.join(SUFFIXES)}")
        if not _is_file(path) and not os.path.isdir(path) and (kind := _other_kind(path)):
            known = f"name one of {', '.join(SUFFIXES)}, or end it in / if it is to be a folder"
            raise RestoreError(f"{option} {path} is the name of a file that cannot be written ({kind}): {known}")
    if wanted.photo is not None and wanted.photo != STDOUT and not is_video(wanted.photo) and _is_file(wanted.photo):
        format_of(PurePath(wanted.photo), wanted.format)


def _other_kind(path: str) -> str:
    """The kind of picture that a name stands for, if it is one that is not written; "" for the name of a folder."""
    suffix, kind = os.path.splitext(path)[1].lower(), mimetypes.guess_type(path)[0] or ""
    if suffix in (*READ_ONLY_SUFFIXES, *RAW_SUFFIXES):
        kind = kind or f"image/{suffix[1:]}"
    return kind if kind.startswith(("image/", "video/")) and not path.endswith("/") else ""


def _is_file(path: str) -> bool:
    """Whether an option names a file, which need not exist: by an extension, unless a folder has that name."""
    is_written = os.path.splitext(path)[1].lower() in SUFFIXES or is_video(path)
    return path == STDOUT or (is_written and not path.endswith("/") and not os.path.isdir(path))
