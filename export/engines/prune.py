"""Drop the engines that no longer fit the bundle they are in, or the builder that is installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from export.engines.build import clear_scratch, engine_damage, without_engine
from export.engines.key import BackendName
from export.engines.lock import writing
from export.engines.tensorrt import load_backend
from export.errors import ExportError
from runtime.bundle import ENGINES, Bundle, EngineKey, load_bundle, write_manifest


def prune(path: Path, dry_run: bool, report: Callable[[str], None]) -> dict[str, str]:
    """Remove engines that are damaged, or whose networks or backend version changed; returns {name: why}.

    The version of a backend that is not installed is not compared, which `report` says. With `dry_run` nothing is
    changed. Raises ExportError or BundleError.
    """
    with writing(path, report):
        bundle = load_bundle(path)
        versions = {backend: _version(backend, report) for backend in _backends(bundle)}
        reasons = {name: _reason(bundle, name, key, versions) for name, key in bundle.manifest.engines.items()}
        dropped = {name: reason for name, reason in reasons.items() if reason}
        for folder in (path / ENGINES).glob("[!.]*/"):
            if folder.name not in bundle.manifest.engines:
                dropped[folder.name] = "the manifest does not know it"
        if dry_run:
            return dropped
        clear_scratch(path)
        for log in (path / ENGINES).glob(".*.log"):
            log.unlink()
        manifest = bundle.manifest
        for name in dropped:
            folder = path / ENGINES / name
            if folder.is_dir():  # out of the way first: a prune that is killed leaves scratch, not half an engine
                os.rename(folder, folder.with_name(f".{name}.tmp"))
            manifest = without_engine(manifest, name)
        if dropped:
            write_manifest(path, manifest)
        for name in dropped:
            shutil.rmtree(path / ENGINES / f".{name}.tmp", ignore_errors=True)
    return dropped


def _backends(bundle: Bundle) -> list[BackendName]:
    return sorted({key.backend for key in bundle.manifest.engines.values()})


def _version(backend: BackendName, report: Callable[[str], None]) -> str | None:
    try:
        return load_backend(backend).version
    except ExportError as error:
        report(f"versions of {backend} are not compared: {error}")
        return None


def _reason(bundle: Bundle, name: str, key: EngineKey, versions: dict[BackendName, str | None]) -> str | None:
    """Why an engine is of no use any more, or None."""
    if problem := engine_damage(bundle, name):
        return problem
    files = bundle.manifest.files
    current = {network: files[network].sha256 if network in files else "0" * 64 for network in key.onnx}
    if current != key.onnx:
        changed = sorted(network for network in current if current[network] != key.onnx[network])
        return f"{' and '.join(changed)} changed since it was built"
    version = versions[key.backend]
    if version is not None and version != key.backend_version:
        return f"it was built by {key.backend} {key.backend_version}, this is {version}"
    return None
