"""Build the engines of a bundle, store them in it under their key, and use the stored ones where the key fits.

    BUNDLE/engines/<name>/   record.json   denoiser.engine   prior.engine
    BUNDLE/engines/.*        scratch: a build under way, a timing cache, the log of a failed build

Everything is made in a scratch folder, which gets its name last: an interrupted build leaves nothing, a killed one a
scratch folder that the next build removes.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from export.console import Bar, Report, quiet_bar
from export.engines.gpu import find_gpu
from export.engines.key import EngineOptions, describe, engine_key, folder_name, nearest
from export.engines.lock import writing
from export.engines.tensorrt import Backend, BuildFailure, build, load_backend, read_cache
from export.errors import ExportError
from runtime.bundle import (
    ENGINES,
    MANIFEST,
    RECORD,
    Bundle,
    EngineKey,
    Manifest,
    damage,
    hash_file,
    load_bundle,
    write_manifest,
)

STATUS = "not run on a GPU yet"


class NetworkRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One engine file: its size in bytes, the seconds its build took, its inputs and outputs with their shapes."""

    file: str
    bytes: int
    seconds: float
    tensors: dict[str, dict[str, Any]]


class EngineRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """record.json: what an engine is, how it came about, and what was measured of it.

    accuracy, for fp16: PSNR in dB of every output of the float16 graph against the float32 one, on a CPU.
    """

    key: EngineKey
    created: str
    workspace_mib: int | None
    networks: dict[str, NetworkRecord]
    accuracy: dict[str, float]
    status: str


@dataclass(frozen=True)
class Outcome:
    """The engine that fits, and whether it had to be built."""

    name: str
    record: EngineRecord
    built: bool


def build_engines(path: Path, options: EngineOptions, report: Report, bar: Bar = quiet_bar) -> Outcome:
    """Make sure the bundle folder `path` has the engines that `options` ask for.

    `report` hears why something is built, or that the stored engine is used. Builders of one bundle take turns,
    so the second of two finds what the first has built. Raises ExportError or BundleError; nothing is left behind
    but, after a failed build, its log.
    """
    backend = load_backend(options.backend)
    with writing(path, report):
        bundle = load_bundle(path)
        key = engine_key(options, bundle.manifest, backend.version, find_gpu())
        _check_device(backend, key, options, report)
        clear_scratch(path)
        name = folder_name(key)
        stored = _stored(bundle, name, report)
        if stored and not options.force:
            report(f"using the stored engine {name} ({describe(key)})")
            return Outcome(name, stored, built=False)
        _say_why(bundle.manifest, name, key, stored is not None, report)
        return Outcome(name, _build_all(bundle, name, key, backend, options, report, bar), built=True)


def read_record(folder: Path) -> EngineRecord:
    """The record of an engine folder. Raises ExportError if it has none or an invalid one."""
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=EngineRecord)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ExportError(f"{folder / RECORD} is not the record of an engine: {error}") from error


def engine_damage(bundle: Bundle, name: str) -> str | None:
    """What is wrong with a stored engine, or None if all its files are as the manifest has them."""
    for file, entry in bundle.manifest.files.items():
        if file.startswith(f"{ENGINES}/{name}/") and (problem := damage(bundle.path, file, entry)):
            return f"{Path(file).name} {problem}"
    return None


def without_engine(manifest: Manifest, name: str) -> Manifest:
    """The manifest less one engine and its files."""
    files = {file: entry for file, entry in manifest.files.items() if not file.startswith(f"{ENGINES}/{name}/")}
    engines = {other: key for other, key in manifest.engines.items() if other != name}
    return msgspec.structs.replace(manifest, files=files, engines=engines)


def clear_scratch(path: Path) -> None:
    """Remove what killed builds left. Only for the holder of the bundle's lock: nothing else is under way then."""
    for left in (path / ENGINES).glob(".*.tmp"):
        shutil.rmtree(left)


def _check_device(backend: Backend, key: EngineKey, options: EngineOptions, report: Report) -> None:
    """Raise ExportError unless the backend can build for the GPU or the SMs of the key."""
    if backend.name == "tensorrt":
        if options.sm:
            raise ExportError("TensorRT builds for the GPU it runs on: leave out --sm, or use --backend tensorrt-rtx")
        if key.gpu is None:
            raise ExportError("TensorRT needs the GPU it builds for, and none is found: use --backend tensorrt-rtx")
        return
    supported = backend.supported_sms()
    if wrong := [sm for sm in key.sm if sm not in supported]:
        known = ", ".join(map(str, supported))
        raise ExportError(f"{backend.title} cannot build for SM {wrong[0]}: it can for {known}")
    if not key.sm:
        report("no --sm is given and no GPU is found: building a portable engine for any GPU that the backend supports")


def _stored(bundle: Bundle, name: str, report: Report) -> EngineRecord | None:
    if name not in bundle.manifest.engines:
        return None
    if problem := engine_damage(bundle, name):
        report(f"the stored engine {name} cannot be used: {problem}")
        return None
    return read_record(bundle.path / ENGINES / name)


def _say_why(manifest: Manifest, name: str, key: EngineKey, whole: bool, report: Report) -> None:
    if whole:
        report(f"building {describe(key)} again: --force")
    elif name in manifest.engines:
        report(f"building {describe(key)} again")
    else:
        close = nearest(manifest.engines, key)
        hint = f"; the nearest, {close[0]}, does not fit: {'; '.join(close[1])}" if close else ""
        report(f"no engine for {describe(key)}{hint}")


def _build_all(
    bundle: Bundle, name: str, key: EngineKey, backend: Backend, options: EngineOptions, report: Report, bar: Bar
) -> EngineRecord:
    engines = bundle.path / ENGINES
    log = engines / f".{name}.log"
    networks, accuracy = dict[str, NetworkRecord](), dict[str, float]()
    with _scratch_folder(engines, name) as folder:
        for network in key.onnx:
            graph, measured = _graph(bundle, network, key, report)
            accuracy |= measured
            report(f"building the engine of {network}")
            file, started = f"{Path(network).stem}.engine", time.perf_counter()
            cache = engines / f".timing-{backend.name}-{backend.version}.cache"
            try:
                with bar(network) as progress:
                    built = build(backend, graph, key, options.workspace, read_cache(cache), progress)
            except BuildFailure as error:
                log.write_text("\n".join(error.log) + "\n")
                raise ExportError(f"{network}: {error}; the log is {log}") from error
            seconds = round(time.perf_counter() - started, 2)
            (folder / file).write_bytes(memoryview(built.engine))
            if built.timing_cache:
                _write(cache, built.timing_cache)
            networks[network] = NetworkRecord(file, built.engine.nbytes, seconds, built.tensors)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        record = EngineRecord(key, created, options.workspace, networks, accuracy, STATUS)
        raw = msgspec.json.format(msgspec.json.encode(record, order="deterministic"), indent=2)
        (folder / RECORD).write_bytes(raw + b"\n")
        _register(bundle, name, key, folder)
    log.unlink(missing_ok=True)
    return record


def _graph(bundle: Bundle, network: str, key: EngineKey, report: Report) -> tuple[bytes, dict[str, float]]:
    """The ONNX graph to compile, in the precision of the key, and what that precision costs in dB."""
    import onnx

    from export.precision.mixed import mixed_graph, single_graph

    model = onnx.load_model(bundle.path / network)
    if key.precision == "fp32":
        return single_graph(model).SerializeToString(), {}
    from export.precision.cost import half_cost

    mixed = mixed_graph(model)
    report(f"comparing the float16 graph of {network} with the float32 one, on the CPU")
    return mixed.SerializeToString(), half_cost(network, model, mixed, bundle.manifest)


@contextmanager
def _scratch_folder(engines: Path, name: str) -> Iterator[Path]:
    """A folder that is gone at the end unless it was renamed, and engines/ with it if that is empty then."""
    engines.mkdir(exist_ok=True)
    folder = engines / f".{name}.tmp"
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if not any(engines.iterdir()):
            engines.rmdir()


def _register(bundle: Bundle, name: str, key: EngineKey, folder: Path) -> None:
    """Enter the finished folder in the manifest, then give it its name.

    Killed in between, it leaves an engine that is listed and absent, which the next build makes again.
    """
    target, before = bundle.path / ENGINES / name, (bundle.path / MANIFEST).read_bytes()
    entries = {f"{ENGINES}/{name}/{file.name}": hash_file(file) for file in sorted(folder.iterdir())}
    rest = without_engine(bundle.manifest, name)
    manifest = msgspec.structs.replace(
        rest, files=rest.files | entries, engines=dict(sorted((rest.engines | {name: key}).items()))
    )
    old = target.with_name(f".{name}.old.tmp")
    if target.exists():
        os.rename(target, old)
    try:
        write_manifest(bundle.path, manifest)
        os.rename(folder, target)
    except BaseException:
        _write(bundle.path / MANIFEST, before)
        if old.exists():
            os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _write(target: Path, raw: bytes) -> None:
    """Write beside `target` and rename."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.write_bytes(raw)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
