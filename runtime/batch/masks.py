"""Which mask, or estimate of the clean photo, belongs to which photo."""

import os
from collections.abc import Sequence
from typing import Literal
from unicodedata import normalize

from shadowdiffusion.runtime.batch.inputs import Found, is_photo
from shadowdiffusion.runtime.batch.plan import MASK, Job
from shadowdiffusion.runtime.batch.standing import same_file
from shadowdiffusion.runtime.errors import PhotoError, RestoreError

Kind = Literal["mask", "clean estimate"]
ENDINGS: dict[Kind, tuple[str, ...]] = {"mask": ("", MASK, "_mask", "-mask"), "clean estimate": ("",)}
"""Between the name of a photo and the extension of what belongs to it; earlier ones win."""


class Partners:
    """What the command line names to go with the photos: one file, or a folder with one for each photo."""

    def __init__(self, where: str, kind: Kind) -> None:
        """Raises RestoreError if there is nothing at `where`."""
        if not os.path.exists(where):
            raise RestoreError(f"{kind} {where} does not exist")
        self.folder = where if os.path.isdir(where) else None
        self.kind = kind
        self._where = where
        self._folders: dict[str, dict[str, list[str]]] = {}

    def of(self, job: Job) -> str:
        """The file that belongs to a photo. In a folder it has the photo's name, followed by one of `ENDINGS`, and any
        extension, below the same folders as the photo; names are the same however Unicode composes their letters.
        Raises PhotoError unless it is clear.
        """
        if self.folder is None:
            if same_file(self._where, job.source):
                raise PhotoError(f"{self._where} cannot be its own {self.kind}")
            return self._where
        below, name = os.path.split(os.path.splitext(job.inner)[0])
        folder = self.folder
        for part in below.split("/") if below else ():
            folder = os.path.join(folder, _spelled(folder, part))
        named = self._by_name(folder)
        for ending in ENDINGS[self.kind]:
            files = named.get(normalize("NFC", name + ending), [])
            exact = [file for file in files if os.path.splitext(file)[0] == name + ending]
            paths = [os.path.join(folder, file) for file in exact or files]
            found = [path for path in paths if not same_file(path, job.source)]
            if len(found) == 1:
                return found[0]
            if found:
                both = " and ".join(os.path.basename(path) for path in found)
                raise PhotoError(f"folder {folder} has {both} for {job.source}: exactly one is needed")
        raise PhotoError(f"folder {folder} has no {self.kind} for {job.source}: exactly one is needed")

    def without(self, found: Sequence[Found]) -> list[Found]:
        """The photos without those that are masks of others: they lie in one folder with them."""
        if self.folder is None:
            return list(found)
        inside = os.path.join(os.path.realpath(self.folder), "")
        stems = {os.path.splitext(photo.real)[0] for photo in found}

        def is_mask(photo: Found) -> bool:
            stem = os.path.splitext(photo.real)[0]
            endings = [ending for ending in ENDINGS[self.kind] if ending and stem.endswith(ending)]
            return photo.real.startswith(inside) and any(stem.removesuffix(ending) in stems for ending in endings)

        return [photo for photo in found if not is_mask(photo)]

    def _by_name(self, folder: str) -> dict[str, list[str]]:
        """The image files of a folder by name without extension, as they were when first asked for."""
        if folder not in self._folders:
            named: dict[str, list[str]] = {}
            for file in _files(folder):
                named.setdefault(normalize("NFC", os.path.splitext(file)[0]), []).append(file)
            self._folders[folder] = named
        return self._folders[folder]


def _spelled(folder: str, name: str) -> str:
    """The name of a folder as it is spelled there, `name` if there is none."""
    if os.path.isdir(os.path.join(folder, name)):
        return name
    wanted = normalize("NFC", name)
    return next((other for other in _listed(folder) if normalize("NFC", other) == wanted), name)


def _files(folder: str) -> list[str]:
    return [file for file in _listed(folder) if is_photo(file)]


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PhotoError(f"cannot read folder {folder}: {error.strerror}") from error
