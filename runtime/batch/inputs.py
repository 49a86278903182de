"""Which photos and videos a command line means: files, folders, patterns, and `-` for stdin, in any mix and in a fixed
order.
"""

import mimetypes
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import NamedTuple

from shadowdiffusion.runtime.batch.patterns import is_pattern, match, split
from shadowdiffusion.runtime.photo.formats import RAW_SUFFIXES, READ_ONLY_SUFFIXES, SUFFIXES
from shadowdiffusion.runtime.photo.reading import can_read
from shadowdiffusion.runtime.video.frames import can_read_videos, is_video

STDIN = "-"
ADDED = (".restored", ".mask", ".illumination", ".compare")
"""Put between the name of a photo and the extension of what is written beside it."""

Identity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Found:
    """One photo to restore."""

    path: str
    """As it is opened and shown; "-" is stdin."""
    inner: str
    """Where it lies below the folder or pattern that was named, otherwise only its name."""
    real: str
    """The same for every path that leads to this file."""
    named: bool = True
    """Whether it was named itself, and not met in a folder."""


class Problem(NamedTuple):
    """Something on the command line that cannot be restored, and why."""

    name: str
    message: str


class Inputs:
    """What `arguments` mean. Files in folders count if they are named like photos or videos that can be read; hidden
    ones, what was written earlier (`ADDED`) and the folders and files `left_out` do not. A file that is reached twice
    counts once.
    """

    def __init__(self, arguments: Sequence[str], left_out: Iterable[str] = ()) -> None:
        self.problems: list[Problem] = []
        self._left_out = {_identity(path) for path in left_out} - {None}
        self._left_files = {os.path.realpath(path) for path in left_out if os.path.isfile(path)}
        self._passed_over: Counter[str] = Counter()
        known: dict[str, Found] = {}
        for argument in arguments:
            for found in self._expand(argument):
                first = known.setdefault(found.real, found)
                if found.named and not first.named:
                    known[found.real] = replace(first, named=True)
        self.found = list(known.values())

    def passed_over(self) -> list[str]:
        """Of what was found in folders and cannot be read, a line for people on each kind."""
        lines = []
        videos = {suffix: count for suffix, count in self._passed_over.items() if is_video(f"a{suffix}")}
        if videos:
            from shadowdiffusion.runtime.packages import install_command

            lines.append(f"passed over: {_counted(videos)}; videos need PyAV: {install_command('video')}")
        if pictures := self._passed_over - Counter(videos):
            raw = "; develop raw files first" if any(suffix in RAW_SUFFIXES for suffix in pictures) else ""
            lines.append(f"passed over: {_counted(pictures)}, which cannot be read{raw}")
        return lines

    def _expand(self, argument: str) -> Iterator[Found]:
        if argument == STDIN:
            yield Found(STDIN, "stdin", STDIN)
        elif os.path.isdir(argument):
            yield from self._several(argument, argument, ("**",), "holds no photos or videos")
        elif is_pattern(argument) and not os.path.lexists(argument):
            yield from self._several(argument, *split(argument), "matches no photos or videos")
        elif name := PurePath(argument).name:
            yield Found(argument, name, os.path.realpath(argument))
        else:
            self.problems.append(Problem(argument, f"{argument!r} is no name of a file"))

    def _several(self, argument: str, folder: str, pattern: Sequence[str], none: str) -> Iterator[Found]:
        before, found = len(self.problems), False
        for photo in self._walk(folder, pattern):
            found = True
            yield photo
        if not found and len(self.problems) == before:
            self.problems.append(Problem(argument, none))

    def _walk(self, root: str, pattern: Sequence[str]) -> Iterator[Found]:
        """The photos below `root` that match: those of a folder by name, then those of its folders.

        Links to folders are followed, but no folder is entered twice, so that links in a circle end.
        """
        entered = set[Identity | None]()
        folders = [(root, list[str]())]
        while folders:
            folder, parts = folders.pop()
            identity = _identity(folder)
            if identity in entered or (parts and identity in self._left_out):
                continue
            entered.add(identity)
            entries = [(entry, [*parts, entry.name]) for entry in self._entries(folder)]
            kinds = {
                kind: [pair for pair in entries if _kind(pair[0]) == kind] for kind in ("photo", "folder", "other")
            }
            photos = kinds["photo"]
            below = [(os.path.join(folder, entry.name), inner) for entry, inner in kinds["folder"]]
            others = (entry.name for entry, inner in kinds["other"] if match(inner, pattern) == "yes")
            self._passed_over.update(os.path.splitext(name)[1].lower() for name in others)
            real = os.path.realpath(folder) if photos else ""
            for entry, inner in photos:
                if match(inner, pattern) == "yes":
                    path = os.path.join(folder, entry.name)
                    own = os.path.realpath(path) if entry.is_symlink() else os.path.join(real, entry.name)
                    if own not in self._left_files:
                        yield Found(path, "/".join(inner), own, named=False)
            folders.extend((path, inner) for path, inner in reversed(below) if match(inner, pattern) != "no")

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        """What a folder holds and does not hide, by name."""
        try:
            with os.scandir(folder or os.curdir) as entries:
                return sorted((entry for entry in entries if entry.name[0] != "."), key=lambda entry: entry.name)
        except OSError as error:
            self.problems.append(Problem(folder, f"cannot be read: {error.strerror}"))
            return []


def is_photo(name: str) -> bool:
    """Whether a file is named like a photo that can be read."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix in SUFFIXES or (suffix in READ_ONLY_SUFFIXES and can_read(READ_ONLY_SUFFIXES[suffix]))


def is_earlier_result(name: str) -> bool:
    """Whether a file is named like something that was written beside a photo."""
    return os.path.splitext(name)[0].endswith(ADDED)


def _kind(entry: os.DirEntry[str]) -> str:
    """Whether it is a "photo" or video, a "folder", an "other" picture or video, or nothing of interest.

    A link to nothing that is named like a photo counts as one: reading it says what is wrong.
    """
    try:
        if entry.is_dir():
            return "folder"
        is_file = entry.is_file() or not os.path.exists(entry.path)
    except OSError:
        is_file = True
    if not is_file or is_earlier_result(entry.name):
        return ""
    if is_photo(entry.name) or (is_video(entry.name) and can_read_videos()):
        return "photo"
    return "other" if _is_picture(entry.name) else ""


def _is_picture(name: str) -> bool:
    """Whether a file is named like any picture or video."""
    known = os.path.splitext(name)[1].lower() in (*READ_ONLY_SUFFIXES, *RAW_SUFFIXES)
    return known or is_video(name) or (mimetypes.guess_type(name)[0] or "").startswith("image/")


def _counted(suffixes: Mapping[str, int]) -> str:
    return " and ".join(f"{count} {suffix}" for suffix, count in sorted(suffixes.items()))


def _identity(folder: str) -> Identity | None:
    """The same for every path to a folder; None where there is none."""
    try:
        status = os.stat(folder or os.curdir)
    except OSError:
        return None
    return status.st_dev, status.st_ino
