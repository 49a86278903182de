"""Drop the engines that no longer fit their bundle, this machine, or the builder that is installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from export.engines.backends import load_backend
from export.engines.lock import locked
from export.engines.store import SCRATCH, clear_scratch
from export.errors import ExportError
from runtime.bundle import Bundle, load_bundle
from runtime.engines import BackendName, engine_damage, engine_stores, network_digests, read_engine
from runtime.errors import BundleError


def prune(path: Path, dry_run: bool, report: Callable[[str], None]) -> dict[str, str]:
    """Remove engines that are damaged, or whose networks or backend version changed; returns {name: why}.

    The version of a backend that is not installed is not compared, which `report` says. With `dry_run` nothing is
    changed. Raises ExportError or BundleError.
    """
    bundle, versions, dropped = load_bundle(path), _Versions(report), dict[str, str]()
    for store in engine_stores(bundle):
        if not store.is_dir():
            continue
        with locked(bundle.path if store.parent == bundle.path else store, report):
            reasons = {folder.name: _reason(bundle, folder, versions) for folder in sorted(store.glob("[!.]*/"))}
            found = {name: reason for name, reason in reasons.items() if reason}
            dropped |= found
            if not dry_run:
                _drop(store, list(found))
    return dropped


def _drop(store: Path, names: list[str]) -> None:
    clear_scratch(store)
    for log in store.glob(".*.log"):
        log.unlink()
    for name in names:  # out of the way first: a prune that is killed leaves scratch, not half an engine
        aside = store / f".{name}{SCRATCH}"
        os.rename(store / name, aside)
        shutil.rmtree(aside)


class _Versions:
    """Versions of the installed backends, each looked up once; None, which is reported, where there is none."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._known: dict[BackendName, str | None] = {}

    def of(self, backend: BackendName) -> str | None:
        if backend not in self._known:
            try:
                self._known[backend] = load_backend(backend).version
            except ExportError as error:
                self._known[backend] = None
                self._report(f"versions of {backend} are not compared: {error}")
        return self._known[backend]


def _reason(bundle: Bundle, folder: Path, versions: _Versions) -> str | None:
    """Why an engine is of no use any more, or None."""
    try:
        engine = read_engine(folder)
    except BundleError as error:
        return str(error)
    if problem := engine_damage(engine):
        return problem
    key, current = engine.record.key, network_digests(bundle)
    if current != key.onnx:
        names = sorted(name for name in current.keys() | key.onnx.keys() if current.get(name) != key.onnx.get(name))
        return f"{' and '.join(names)} changed since it was built"
    version = versions.of(key.backend)
    if version is not None and version != key.backend_version:
        return f"it was built by {key.backend} {key.backend_version}, this is {version}"
    return None
