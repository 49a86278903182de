"""Drop engines: those that are named, or those that no longer fit, are damaged or quarantined."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from shadowdiffusion.export.engines.lock import locked
from shadowdiffusion.export.engines.store import SCRATCH, clear_scratch
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.runtime.bundle.engines import TITLES, engine_damage, engine_folders, engine_stores, read_engine
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.errors import BundleError
from shadowdiffusion.runtime.selection.fit import Machine, misfits, this_machine
from shadowdiffusion.runtime.selection.golden_check import quarantine


def prune(path: Path, dry_run: bool, report: Callable[[str], None], names: Collection[str] = ()) -> dict[str, str]:
    """Remove the engines `names`, or without names all that are of no use here any more; returns {name: why}.

    Those are damaged or quarantined, or were built from other networks, by another version of their backend, or for
    another device or driver. What is not here (a GPU, a backend) is not compared, which `report` says. With
    `dry_run` nothing is changed. Raises BundleError, or ExportError, also for the name of no engine.
    """
    bundle, machine, dropped = load_bundle(path), this_machine(), dict[str, str]()
    known = [folder.name for folder in engine_folders(*engine_stores(bundle))]
    if unknown := [name for name in names if name not in known]:
        raise ExportError(f"{path} has no engine {unknown[0]}: {', '.join(known) or 'it has none at all'}")
    for store in reversed(engine_stores(bundle)):  # the cache first: the bundle may be read-only
        if not os.path.isdir(store):  # Path.is_dir raises for a folder that may not be looked into
            continue
        if path.is_file() and store.parent == bundle.path:
            report(f"{path} is a packed bundle, which is never changed: the engines in it stay")
            continue
        with locked(bundle.path if store.parent == bundle.path else store, report):
            reasons: dict[Path, str | None] = {
                folder: "it was named" if folder.name in names else _reason(bundle, folder, machine, report)
                for folder in engine_folders(store)
                if not names or folder.name in names
            }
            dropped |= {folder.name: reason for folder, reason in reasons.items() if reason}
            if not dry_run:
                _drop(store, [folder for folder, reason in reasons.items() if reason])
    return dropped


def _drop(store: Path, folders: list[Path]) -> None:
    clear_scratch(store)
    for log in store.glob(".*.log"):
        log.unlink()
    for folder in folders:  # out of the way first: a prune that is killed leaves scratch, not half an engine
        aside = store / f".{folder.name}{SCRATCH}"
        os.rename(folder, aside)
        shutil.rmtree(aside)


def _reason(bundle: Bundle, folder: Path, machine: Machine, report: Callable[[str], None]) -> str | None:
    """Why an engine is of no use any more, or None."""
    try:
        engine = read_engine(folder)
    except BundleError as error:
        return str(error)
    if problem := engine_damage(engine):
        return problem
    key = engine.record.key
    for unknown, absent in (
        ("GPUs", machine.device(key) is None),
        (f"versions of {TITLES[key.backend]}", machine.version(key.backend) is None),
    ):
        if absent:
            report(f"engine {engine.name}: {unknown} are not compared, there is none here")
    return "; ".join(misfits(key, bundle, machine)) or quarantine(engine, machine.device(key))
