"""A bundle as one zip file: unpacked once into a cache folder, which is then verified like any bundle.

The members are exactly the manifest and the files it lists, and the records of engines and the files they list, at the
top or in one folder on top: nothing in the archive can hide or land elsewhere when it is unpacked, and sizes are known
before. `shadowdiffusion export pack` writes such files without compression; those of other programs may be compressed.
"""

import hashlib
import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from shadowdiffusion.runtime.bundle.engines import PLAIN_NAME, RECORD, engine_damage, parse_record, read_engine
from shadowdiffusion.runtime.bundle.folder import ENGINES, MANIFEST, load_folder, parse_manifest
from shadowdiffusion.runtime.cache import CHOOSE, cache_folder
from shadowdiffusion.runtime.errors import BundleError

LARGEST_MANIFEST = 16 * 2**20
"""Bytes of a manifest or record; real ones have about 20 kB."""
MOST_GROWTH = 100
"""Times the size of the file that a bundle may have; weights hardly shrink, text does tenfold."""
CACHE = "bundles"


def unpack(path: Path) -> Path:
    """The folder of the bundle in the zip file `path`, named by the file's SHA-256 and written if need be.

    Raises BundleError for anything but a bundle, and when the cache cannot be written.
    """
    cache = cache_folder(CACHE)
    if cache is None:
        raise BundleError(f"cannot unpack {path}: there is no cache folder ({CHOOSE})")
    try:
        with open(path, "rb") as file:
            folder = cache / hashlib.file_digest(file, "sha256").hexdigest()
            if _is_whole(folder):
                return folder
            with zipfile.ZipFile(file) as archive:
                top = _top(archive, path)
                sizes = _listed(archive, top, path)
                _check_members(archive, top, sizes, path)
                _extract(archive, top, sizes.keys(), folder, path)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        reason = str(error) or "it is cut"
        raise BundleError(f"{path} is not a bundle: it is no folder and not a whole zip file ({reason})") from error
    except (NotImplementedError, RuntimeError, ValueError) as error:  # zipfile: unknown version, encryption
        raise BundleError(f"cannot unpack {path}: {error}") from error
    except OSError as error:
        where = f"the cache is {cache}; {CHOOSE}"
        raise BundleError(f"cannot unpack {path}: {error.strerror or error} ({where})") from error
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether a verified copy is there; a damaged one is removed."""
    if not folder.is_dir():
        return False
    try:
        load_folder(folder)
    except BundleError:
        shutil.rmtree(folder)
        return False
    return True


def _top(archive: zipfile.ZipFile, path: Path) -> str:
    """What the names of all members begin with: "", or the one folder on top with its slash."""
    names = archive.namelist()
    if MANIFEST in names:
        return ""
    tops = {name.partition("/")[0] for name in names}
    top = f"{tops.pop()}/" if len(tops) == 1 else ""
    if not top or top + MANIFEST not in names:
        raise BundleError(f"{path} is not a bundle: it has no {MANIFEST} at its top, or in one folder on top")
    return top


def _listed(archive: zipfile.ZipFile, top: str, path: Path) -> dict[str, int]:
    """Sizes of the members that manifest and records list, their own too, by their names in the bundle."""
    raw = _read(archive, top + MANIFEST, path)
    files = parse_manifest(raw, f"{path}/{MANIFEST}").files
    sizes = {MANIFEST: len(raw)} | {name: entry.size for name, entry in files.items()}
    for name in (name.removeprefix(top) for name in archive.namelist()):
        if re.fullmatch(f"{ENGINES}/{PLAIN_NAME}/{re.escape(RECORD)}", name):
            raw, folder = _read(archive, top + name, path), name.removesuffix(RECORD)
            sizes[name] = len(raw)
            sizes |= {folder + file: entry.size for file, entry in parse_record(raw, f"{path}/{name}").files.items()}
    return sizes


def _read(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    member = archive.getinfo(name)
    if member.file_size > LARGEST_MANIFEST:
        raise BundleError(f"{name} in {path} has {member.file_size} bytes, which no {Path(name).stem} needs")
    return archive.read(member)


def _check_members(archive: zipfile.ZipFile, top: str, sizes: dict[str, int], path: Path) -> None:
    """Refuse members that are not listed, repeated, no plain file, of another size than listed, or that grow too much.

    Folders need not be listed.
    """
    seen, packed = set[str](), 0
    folders = {top} | {f"{top}{parent}/" for name in sizes for parent in PurePosixPath(name).parents}
    for member in archive.infolist():
        if member.filename in folders and member.file_size == 0:
            continue
        name, kind = member.filename.removeprefix(top), stat.S_IFMT(member.external_attr >> 16)
        if name in seen:
            raise BundleError(f"{path} holds {name!r} twice")
        seen.add(name)
        packed += member.compress_size
        if kind not in (0, stat.S_IFREG):
            raise BundleError(f"{name!r} in {path} is not a plain file")
        if name not in sizes:  # names that leave the folder are not listed: manifest and records refuse them
            raise BundleError(f"{path} holds {name!r}, which its manifest does not list")
        if member.file_size != sizes[name]:
            raise BundleError(f"{name} in {path} has {member.file_size} bytes instead of {sizes[name]}")
    if packed > path.stat().st_size:
        raise BundleError(f"members of {path} share bytes: it is smaller than what it claims to hold")
    if sum(sizes.values()) > MOST_GROWTH * packed:
        raise BundleError(f"{path} would grow more than {MOST_GROWTH} times, which no bundle does")
    if missing := sorted(sizes.keys() - seen):
        raise BundleError(f"{path} lacks {missing[0]}: copy or pack it again")


def _extract(archive: zipfile.ZipFile, top: str, names: Iterable[str], folder: Path, path: Path) -> None:
    """Write the members beside `folder`, verify them, and rename; another process may have been first."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".unpack.", suffix=".tmp", dir=folder.parent))
    try:
        for name in names:
            target = temporary / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(top + name) as source, open(target, "xb") as copy:
                shutil.copyfileobj(source, copy, 2**20)
        try:
            load_folder(temporary)
            for engine in map(read_engine, temporary.glob(f"{ENGINES}/*")):
                if problem := engine_damage(engine):
                    raise BundleError(f"engine {engine.name}: {problem}")
        except BundleError as error:
            raise BundleError(f"{path} is damaged: {str(error).replace(f'{temporary}', f'{path}')}") from error
        try:
            os.rename(temporary, folder)
        except OSError:
            if not _is_whole(folder):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
