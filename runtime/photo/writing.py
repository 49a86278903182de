"""Photos to files, each whole or not at all (`runtime.replacing`), and never over another file by accident."""

import os
from collections.abc import Callable
from pathlib import Path

from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo.encoding import encode_into
from shadowdiffusion.runtime.photo.formats import Format, check_encoding, format_of
from shadowdiffusion.runtime.photo.image import Photo
from shadowdiffusion.runtime.photo.reading import FilePath
from shadowdiffusion.runtime.replacing import temporary_beside
from shadowdiffusion.runtime.unfinished import create, remove

_TAKEN = "it exists already (--overwrite replaces it)"


def check_target(path: FilePath, overwrite: bool, form: Format | None = None) -> Format:
    """The format to write `path` in: `form`, or by its name; raises PhotoError if it must not be written."""
    path = Path(path)
    form = format_of(path, form)
    if os.path.exists(path):  # not Path.exists, which may raise
        if not os.path.isfile(path):
            raise PhotoError(f"cannot write {path}: it is {'a folder' if os.path.isdir(path) else 'no regular file'}")
        if not overwrite:
            raise PhotoError(f"cannot write {path}: {_TAKEN}")
    return form


def write_photo(
    path: FilePath,
    photo: Photo,
    overwrite: bool = False,
    form: Format | None = None,
    quality: int | None = None,
    finished: Callable[[Path], None] | None = None,
) -> None:
    """Write a photo in the format `form`, or that of the file name, atomically. Missing folders are made.

    quality: as of `encode_photo`. `finished` is called with the whole file before it takes its name. Raises PhotoError
    when it cannot be written; the target is then as it was.
    """
    path = Path(path)
    form = check_target(path, overwrite, form=form)
    check_encoding(form, quality)
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # opened here, not by its name in pyvips, which takes no names that are not UTF-8; to be read for TIFF
        with open(create(temporary), "r+b") as file:
            encode_into(file, photo, form, quality, f"write {path}")
            file.flush()
            os.fsync(file)  # some disks say only now that they are full
        if finished is not None:
            finished(temporary)
        _publish(temporary, path, overwrite)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise PhotoError(f"cannot write {path}: {_reason(error, path)}") from error
    finally:
        remove(temporary)


def _publish(temporary: Path, path: Path, overwrite: bool) -> None:
    """Give the finished file its name; without `overwrite` never that of a file which appeared meanwhile."""
    if not overwrite:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if os.path.lexists(path):
                raise FileExistsError from None
        else:
            return
    os.replace(temporary, path)


def _reason(error: OSError | ValueError, path: Path) -> str:
    if isinstance(error, FileExistsError):
        return _TAKEN if path.parent.is_dir() else f"{path.parent} is no folder"
    return getattr(error, "strerror", None) or str(error)
