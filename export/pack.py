"""A bundle folder -> one zip file that `runtime.bundle.archive` reads: stored, in a fixed order, without dates.

The same bundle always packs to the same bytes. Whole engines of the bundle's folder are packed, those of the cache,
which belong to this machine, are not.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from shadowdiffusion.export.commands.console import Bar, Progress, Report, quiet_bar
from shadowdiffusion.export.engines.lock import writing
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.runtime.bundle.engines import RECORD, engine_damage, engine_folders, read_engine
from shadowdiffusion.runtime.bundle.folder import ENGINES, MANIFEST, Bundle
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.errors import BundleError
from shadowdiffusion.runtime.replacing import replaced

NO_DATE = (1980, 1, 1, 0, 0, 0)  # the first that zip can say
PLAIN_FILE = 0o100644 << 16


def pack(
    path: Path, target: Path, force: bool = False, report: Report = lambda line: None, bar: Bar = quiet_bar
) -> int:
    """Write the bundle folder `path` as the zip file `target`; returns its size in bytes.

    `report` hears which engines are left out. The file appears whole or not at all. Raises ExportError, or
    BundleError for a damaged bundle.
    """
    if not target.absolute().parent.is_dir():
        raise ExportError(f"folder {target.parent} does not exist: create it first")
    if os.path.lexists(target) and (not force or not target.is_file() or target.is_symlink()):
        advice = "choose another name" + (", or pass --force" if target.is_file() and not target.is_symlink() else "")
        raise ExportError(f"{target} already exists: {advice}")
    if target.resolve().is_relative_to(path.resolve()):
        raise ExportError(f"{target} lies inside the bundle: choose a place outside")
    with writing(path):
        bundle = load_bundle(path)
        names = [MANIFEST, *sorted(bundle.manifest.files), *_engine_files(bundle, report)]
        with bar(f"packing {path}") as progress:
            return _write(path, names, target, progress)


def _engine_files(bundle: Bundle, report: Report) -> Iterator[str]:
    for folder in engine_folders(bundle.path / ENGINES):
        try:
            engine = read_engine(folder)
            problem = engine_damage(engine)
        except BundleError as error:
            problem = str(error)
        if problem:
            report(f"engine {folder.name} is not packed: {problem}")
            continue
        yield from (f"{ENGINES}/{engine.name}/{file}" for file in sorted({RECORD, *engine.record.files}))


def _write(root: Path, names: list[str], target: Path, progress: Progress) -> int:
    try:
        with replaced(target) as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for index, name in enumerate(names):
                    progress(index / len(names), name)
                    member = zipfile.ZipInfo(name, NO_DATE)
                    member.external_attr, member.create_system = PLAIN_FILE, 3
                    member.file_size = (root / name).stat().st_size
                    with open(root / name, "rb") as source, archive.open(member, "w") as copy:
                        shutil.copyfileobj(source, copy, 2**20)
            size = file.tell()
    except OSError as error:
        raise ExportError(f"cannot write {target}: {error.strerror}") from error
    return size
