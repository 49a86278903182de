"""Which photos a command line means, and where each one's results go."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from runtime.errors import RestoreError
from runtime.photo import SUFFIXES, Photo, check_target, read_photo, write_photo
from runtime.restorer import Restored

RESULT, MASK = ".restored", ".mask"
"""Put between name and extension of what is written into a folder."""


@dataclass(frozen=True)
class Job:
    """One photo to restore."""

    photo: Path
    target: Path
    mask: Path | None
    """A mask image, or a folder that holds one under the photo's name."""
    mask_target: Path | None


def plan(photos: Iterable[Path], output: Path | None, mask: Path | None, save_mask: Path | None) -> list[Job]:
    """One job per photo; a folder stands for the photos in it, earlier results left out.

    `output` and `save_mask` are files (only for a single photo) or folders, which are made. Raises
    RestoreError for choices that contradict each other.
    """
    photos = list(photos)
    files = [file for photo in photos for file in _expand(photo)]
    single = len(files) == 1 and not any(photo.is_dir() for photo in photos)
    if mask is not None and not mask.exists():
        raise RestoreError(f"mask {mask} does not exist")
    if mask is not None and not mask.is_dir() and not single:
        raise RestoreError(f"--mask {mask} is one file for {len(files)} photos: give a folder of masks")
    jobs = [
        Job(
            photo=file,
            target=_target(file, output, RESULT, file.suffix, single, "--output") or _beside(file),
            mask=mask,
            mask_target=_target(file, save_mask, MASK, ".png", single, "--save-mask"),
        )
        for file in files
    ]
    taken: set[Path] = set()
    for job in jobs:
        for target in filter(None, (job.target, job.mask_target)):
            if target.absolute() in taken:
                raise RestoreError(f"two results would be written to {target}: restore them into separate folders")
            taken.add(target.absolute())
    return jobs


def run(job: Job, restore: Callable[..., Restored], inputs: Iterable[Path], overwrite: bool = False) -> float:
    """Restore one photo and write its results, never over one of `inputs`; returns seconds. Raises
    RestoreError.

    `restore` is a Restorer, or one with some arguments filled in: it is called with a photo, `mask` and `with_mask`.
    """
    started = perf_counter()
    photo = read_photo(job.photo)
    mask = _mask_of(job)
    read = [*inputs, mask] if mask else [*inputs]
    for target in filter(None, (job.target, job.mask_target)):
        check_target(target, overwrite, read)
    restored = restore(photo, mask=mask, with_mask=job.mask_target is not None)
    write_photo(job.target, replace(photo, pixels=restored.image), overwrite)
    if job.mask_target is not None and restored.mask is not None:
        write_photo(job.mask_target, Photo((restored.mask * 255).round().astype("uint8")), overwrite)
    return perf_counter() - started


def _expand(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES and file.is_file()]
    photos = [file for file in files if not file.stem.endswith((RESULT, MASK)) and not file.name.startswith(".")]
    if not photos:
        raise RestoreError(f"folder {path} holds no photos ({', '.join(SUFFIXES)})")
    return photos


def _beside(photo: Path) -> Path:
    return photo.with_name(f"{photo.stem}{RESULT}{photo.suffix}")


def _target(photo: Path, where: Path | None, infix: str, suffix: str, single: bool, option: str) -> Path | None:
    """The result file for `photo` given what the option `where` names: a folder, or for a single photo a
    file.
    """
    if where is None:
        return None
    if not where.is_dir() and where.suffix.lower() in SUFFIXES:
        if not single:
            raise RestoreError(f"{option} {where} is one file for several photos: name a folder")
        return where
    return where / f"{photo.stem}{infix}{suffix}"


def _mask_of(job: Job) -> Path | None:
    if job.mask is None or not job.mask.is_dir():
        return job.mask
    named = [file for file in sorted(job.mask.iterdir()) if file.stem == job.photo.stem]
    found = [file for file in named if file.suffix.lower() in SUFFIXES and not file.samefile(job.photo)]
    if len(found) != 1:
        many = " and ".join(file.name for file in found)
        raise RestoreError(f"folder {job.mask} has {many or 'no mask'} for {job.photo.name}: exactly one is needed")
    return found[0]
