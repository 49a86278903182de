"""Which mask belongs to which photo."""

import os

from runtime.batch.inputs import is_photo
from runtime.batch.plan import MASK, Job
from runtime.errors import PhotoError, RestoreError


class Masks:
    """The masks that the command line names: one file, or a folder with one for each photo."""

    def __init__(self, where: str, photos: int) -> None:
        """Raises RestoreError if there is nothing at `where`, or a single mask for several photos."""
        if not os.path.exists(where):
            raise RestoreError(f"mask {where} does not exist")
        self.folder = where if os.path.isdir(where) else None
        if self.folder is None and photos > 1:
            raise RestoreError(f"--mask {where} is one file for {photos} photos: give a folder of masks")
        self._where = where
        self._folders: dict[str, dict[str, list[str]]] = {}

    def of(self, job: Job) -> str:
        """The mask file: in a folder of masks the one with the photo's name and any extension, or the one that was
        saved for it as NAME.mask.EXT, below the same folders as the photo. Raises PhotoError unless it is clear.
        """
        if self.folder is None:
            return self._where
        below, name = os.path.split(os.path.splitext(job.inner)[0])
        folder = os.path.join(self.folder, below) if below else self.folder
        named = self._by_name(folder)
        for stem in (name, name + MASK):
            paths = [os.path.join(folder, file) for file in named.get(stem, ())]
            masks = [path for path in paths if not _same(path, job.source)]
            if len(masks) == 1:
                return masks[0]
            if masks:
                both = " and ".join(os.path.basename(path) for path in masks)
                raise PhotoError(f"folder {folder} has {both} for {job.source}: exactly one is needed")
        raise PhotoError(f"folder {folder} has no mask for {job.source}: exactly one is needed")

    def _by_name(self, folder: str) -> dict[str, list[str]]:
        """The image files of a folder by name without extension, as they were when first asked for."""
        if folder not in self._folders:
            named: dict[str, list[str]] = {}
            for file in _files(folder):
                named.setdefault(os.path.splitext(file)[0], []).append(file)
            self._folders[folder] = named
        return self._folders[folder]


def _files(folder: str) -> list[str]:
    try:
        return sorted(file for file in os.listdir(folder) if is_photo(file))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PhotoError(f"cannot read folder {folder}: {error.strerror}") from error


def _same(mask: str, photo: str) -> bool:
    try:
        return os.path.samefile(mask, photo)
    except OSError:
        return False
