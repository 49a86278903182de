"""Build an engine of a bundle, store it under its key, and use the stored one where the key fits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import msgspec

from shadowdiffusion.export.commands.console import Bar, Report, quiet_bar
from shadowdiffusion.export.engines.backends import load_backend
from shadowdiffusion.export.engines.conflicts import check_options
from shadowdiffusion.export.engines.job import Backend, BuildFailure, Job
from shadowdiffusion.export.engines.key import EngineOptions, describe, engine_key, folder_name, nearest
from shadowdiffusion.export.engines.store import put_in_place, scratch_folder, writable_store
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.runtime.bundle.engines import (
    FORMAT_VERSION,
    RECORD,
    EngineKey,
    EngineRecord,
    StoredEngine,
    encode_record,
    engine_damage,
    engine_folders,
    engine_stores,
    parse_record,
    read_engine,
    stored_engines,
)
from shadowdiffusion.runtime.bundle.folder import Bundle, hash_file
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.errors import BundleError
from shadowdiffusion.runtime.selection.fit import Machine, misfits, this_machine
from shadowdiffusion.runtime.selection.golden_check import (
    CheckError,
    Verdict,
    check_engine,
    forget_verdict,
    quarantine,
    remember,
)
from shadowdiffusion.runtime.selection.tolerances import Decibels


@dataclass(frozen=True)
class Outcome:
    """The engine that fits, and whether it had to be built."""

    engine: StoredEngine
    built: bool


def build_engines(path: Path, options: EngineOptions, report: Report, bar: Bar = quiet_bar) -> Outcome:
    """Make sure the bundle `path`, a folder or a zip file, has the engine that `options` ask for.

    `report` hears why something is built, or that the stored engine is used. Builders of one bundle take turns,
    so the second of two finds what the first has built. Raises ExportError or BundleError; nothing is left behind
    but, after a failed build, its log.
    """
    check_options(options)
    backend, bundle, machine = load_backend(options.backend), load_bundle(path), this_machine()
    key = engine_key(options, bundle, backend.version, machine.gpu)
    backend.check(key, options, report)
    if not options.force and (found := _usable(bundle, key, options, machine)[0]):  # needs no place to write to
        return _use(found, report)
    with writable_store(bundle, path.is_file(), report) as store:
        found, problem = _usable(bundle, key, options, machine)
        if found and not options.force:
            return _use(found, report)
        if problem:
            report(f"the stored engine {folder_name(key)} cannot be used: {problem}")
        _say_why(bundle, key, found is not None or problem is not None, report)
        return Outcome(_build(Job(bundle, key, options, {}, store, store, report, bar), backend, machine), built=True)


def _usable(
    bundle: Bundle, key: EngineKey, options: EngineOptions, machine: Machine
) -> tuple[StoredEngine | None, str | None]:
    """The whole stored engine of exactly this key, or what is wrong with it; (None, None) if there is none."""
    folders = {folder.name: folder for folder in engine_folders(*engine_stores(bundle))}
    if folder_name(key) not in folders:
        return None, None
    try:
        engine = read_engine(folders[folder_name(key)])
    except BundleError as error:
        return None, str(error)
    problem = engine_damage(engine) or quarantine(engine, machine.device(key)) or _below_gate(engine.record, options)
    if engine.record.provisional:
        problem = problem or "it is provisional, as other programs disturbed its times"
    return (None, problem) if problem else (engine, None)


def _below_gate(record: EngineRecord, options: EngineOptions) -> str | None:
    """Whether the engine was let through by a lower gate than the one asked for, which is no part of the key."""
    from shadowdiffusion.export.precision.prepare import needed_of

    if record.gate is None:
        return None
    reached = Decibels(
        **({"image": record.gate.psnr, **dict.fromkeys(Decibels._fields[1:], -inf)} | record.gate.outputs)
    )
    missed = reached.missed(needed_of(record.key.precision, options.gate))
    return f"against float32 it reaches {', '.join(missed)}" if missed else None


def _use(engine: StoredEngine, report: Report) -> Outcome:
    report(f"using the stored engine {engine.name} ({describe(engine.record.key)})")
    return Outcome(engine, built=False)


def _say_why(bundle: Bundle, key: EngineKey, again: bool, report: Report) -> None:
    if again:
        report(f"building {describe(key)} again")
        return
    close = nearest({name: engine.record.key for name, engine in stored_engines(bundle).items()}, key)
    hint = f"; the nearest, {close[0]}, does not fit: {'; '.join(close[1])}" if close else ""
    report(f"no engine for {describe(key)}{hint}")


def _build(job: Job, backend: Backend, machine: Machine) -> StoredEngine:
    """Prepare the graphs, compile them, check the engine where it can run, and give the folder its name."""
    from shadowdiffusion.export.precision.prepare import prepare

    key, options, store = job.key, job.options, job.caches
    name = folder_name(key)
    log = store / f".{name}.log"
    with scratch_folder(store, name) as folder:
        prepared = prepare(job.bundle, key, options.gate, options.photos, job.report, job.bar)
        try:
            parts = backend.compile(replace(job, graphs=prepared.graphs, folder=folder))
        except BuildFailure as error:
            log.write_text("\n".join(error.log) + "\n")
            raise ExportError(f"{error}; the log is {log}") from error
        record = EngineRecord(
            format_version=FORMAT_VERSION,
            key=key,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            networks=parts.networks,
            files={file.name: hash_file(file) for file in sorted(folder.iterdir())},
            notes=[*prepared.notes, *parts.notes],
            kept_in_fp32=prepared.kept_in_fp32,
            gate=prepared.gate,
            session=parts.session,
            latency_ms=parts.latency_ms,
            workspace_mib=options.workspace,
            status=parts.status,
            provisional=parts.provisional,
        )
        if record.provisional:
            job.report("other programs disturbed the times: the engine is provisional, the next build measures again")
        parse_record(encode_record(record))  # what cannot be read back is not stored
        (folder / RECORD).write_bytes(encode_record(record))
        verdict = _check(job, StoredEngine(folder, record), machine)
        if verdict:
            status = f"reproduces the golden example to {verdict.psnr:.1f} dB on {verdict.device}"
            record = msgspec.structs.replace(record, status=status)
            (folder / RECORD).write_bytes(encode_record(record))
        put_in_place(folder, store / name)
    log.unlink(missing_ok=True)
    engine = StoredEngine(store / name, record)
    forget_verdict(engine)
    if verdict:
        remember(engine, msgspec.structs.replace(verdict, engine=name))
    return engine


def _check(job: Job, engine: StoredEngine, machine: Machine) -> Verdict | None:
    """What the golden example says of the new engine, None if it cannot run here. Raises ExportError if it fails."""
    device = machine.device(job.key)
    if device is None or misfits(job.key, job.bundle, machine):
        return None
    job.report("running the golden example through the engine")
    try:
        with job.bar("golden example"):
            verdict = check_engine(job.bundle, engine, device, job.options.threads)
    except CheckError as error:
        job.report(f"the engine is not checked: {error}")
        return None
    if verdict.failure:
        raise ExportError(f"the engine is not stored: {verdict.failure}")
    return verdict
