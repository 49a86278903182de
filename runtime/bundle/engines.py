"""Engines: the networks of a bundle compiled ahead for one device. What their records say, and where they are found.

    STORE/<name>/   record.json   and the files that it lists
    STORE/.*        scratch of a builder: no engine

There are two stores: engines/ in the bundle, and, for bundles that cannot be written, a folder of the cache. A folder
describes itself, the bundle's manifest does not list it: engines come and go without changing the bundle.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from shadowdiffusion.runtime.bundle.folder import ENGINES, NETWORKS, ROWS, Bundle, FileEntry, Note, Positive, damage
from shadowdiffusion.runtime.cache import cache_folder
from shadowdiffusion.runtime.errors import BundleError
from shadowdiffusion.runtime.loop.networks import Used

RECORD = "record.json"
FORMAT_VERSION = 1
NETWORK_FILES = (*NETWORKS, ROWS)
"""What an engine is compiled from, as far as the bundle has it."""

BackendName = Literal["tensorrt", "tensorrt-rtx", "cpu-kernels", "onnxruntime"]
TITLES: dict[BackendName, str] = {
    "tensorrt": "TensorRT",
    "tensorrt-rtx": "TensorRT for RTX",
    "cpu-kernels": "our CPU kernels",
    "onnxruntime": "ONNX Runtime",
}
Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8"]
Provider = Literal["cpu", "cuda"]
Device = Literal["auto", "cpu", "cuda"]
"""Where a user wants the networks to run."""
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
PLAIN_NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
"""What files and folders of engines are called: no path, and no scratch."""
FileName = Annotated[str, Meta(pattern=f"^{PLAIN_NAME}$")]


class EngineKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything an engine depends on: one of these differs, and it is another engine."""

    device: str | None
    """Name of the GPU or CPU it was built on; None when it was built without one, for the SM list, or for any CPU."""
    sm: list[Positive]
    """Compute capabilities it runs on, 89 for 8.9, ascending; [] is any that its backend supports."""
    driver: str | None
    backend: BackendName
    backend_version: str
    provider: Provider | None
    """What it runs on: of onnxruntime one of them, of cpu-kernels the CPU. None for the others."""
    onnx: dict[str, Digest]
    """SHA-256 of the files of the bundle it was built from, by name."""
    precision: Precision
    profile: str
    """Image sizes as min:opt:max, each HEIGHTxWIDTH in pixels."""
    batch: str
    """Images at once as min:opt:max."""
    optimization_level: Annotated[int, Meta(ge=0, le=5)]
    flags: list[str]
    """Sorted: "strip-weights", "version-compatible", "hardware-compatible", "with:PASS", "without:PASS",
    "threads:N"."""


def device_of(key: EngineKey) -> Provider:
    """Where an engine of that key runs."""
    return "cpu" if key.provider == "cpu" else "cuda"


class SessionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an onnxruntime engine is to be opened, as measured to be best."""

    threads: int
    spinning: bool
    provider_options: dict[str, str]


class NetworkRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One compiled network: its file, the seconds its build took, its inputs and outputs with their shapes."""

    file: FileName
    seconds: float
    tensors: dict[str, dict[str, Any]]


class Gate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Worst PSNR in dB of the whole loop against float32 over `photos`, and the least that was asked for."""

    psnr: float
    least: float
    photos: list[str]
    outputs: dict[str, float] = {}
    """Worst agreement in dB of the networks' outputs at any step: the other fields of
    `runtime.selection.tolerances.Decibels`."""


class EngineRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """record.json: what an engine is, how it came about, and what was measured of it."""

    format_version: int
    key: EngineKey
    created: str
    """ISO 8601, UTC."""
    networks: dict[str, NetworkRecord]
    """By the name of the ONNX file: "prior.onnx", "denoiser.onnx", "mask_head.onnx"."""
    files: dict[FileName, FileEntry]
    """Every file of the folder but the record itself."""
    notes: list[Note]
    kept_in_fp32: dict[str, list[str]]
    """Layers that the accuracy gate put back, by network."""
    gate: Gate | None
    session: SessionSettings | None
    latency_ms: dict[str, float]
    """Measured at the best shape of the profile; empty where the builder had no device to measure on."""
    workspace_mib: int | None
    status: str
    provisional: bool = False
    """Whether other programs disturbed the times by which it was chosen: the next build measures again."""


class _Versioned(msgspec.Struct):
    format_version: int


@dataclass(frozen=True)
class StoredEngine:
    """An engine folder with a valid record; `engine_damage` checks its other files."""

    path: Path
    record: EngineRecord

    @property
    def used(self) -> Used:
        """What its networks say that they run on."""
        key = self.record.key
        return Used(key.backend, self.name, key.precision, device_of(key))

    @property
    def name(self) -> str:
        """The folder's name, which ends with the digest of the key."""
        return self.path.name


def network_digests(bundle: Bundle) -> dict[str, str]:
    """SHA-256 of every network file of the bundle, by name: `EngineKey.onnx` of the engines made from it."""
    files = bundle.manifest.files
    return {name: files[name].sha256 for name in NETWORK_FILES if name in files}


def engine_stores(bundle: Bundle) -> list[Path]:
    """Where engines of the bundle may be: its own folder, then that of the cache, if any; neither need exist."""
    cache = cache_folder(ENGINES)
    digest = hashlib.sha256(repr(sorted(network_digests(bundle).items())).encode()).hexdigest()
    return [bundle.path / ENGINES, *([] if cache is None else [cache / digest[:32]])]


def engine_folders(*stores: Path) -> list[Path]:
    """Every engine folder of the stores, readable or not; of two with one name that of the later store."""
    found = dict[str, Path]()
    for store in stores:
        try:
            found |= {entry.name: Path(entry.path) for entry in os.scandir(store) if _is_engine(entry)}
        except OSError:
            continue
    return [found[name] for name in sorted(found)]


def _is_engine(entry: "os.DirEntry[str]") -> bool:
    return not entry.name.startswith(".") and entry.is_dir()


def stored_engines(bundle: Bundle) -> dict[str, StoredEngine]:
    """The engines of both stores that have a valid record, by name; of two with one name the newer, the cache's."""
    engines = dict[str, StoredEngine]()
    for folder in engine_folders(*engine_stores(bundle)):
        try:
            engines[folder.name] = read_engine(folder)
        except BundleError:
            continue
    return engines


def read_engine(folder: Path) -> StoredEngine:
    """The engine in a folder. Raises BundleError if its record is missing, invalid, or of another version."""
    file = folder / RECORD
    try:
        return StoredEngine(folder, parse_record(file.read_bytes(), str(file)))
    except OSError as error:
        raise BundleError(f"{folder} is no engine: {RECORD} cannot be read ({error.strerror})") from error


def parse_record(raw: bytes, source: str = RECORD) -> EngineRecord:
    """Decode and validate the bytes of a record; `source` names it in the BundleError of an invalid one."""
    try:
        version = msgspec.json.decode(raw, type=_Versioned).format_version
        if version != FORMAT_VERSION:
            advice = "upgrade shadowdiffusion" if version > FORMAT_VERSION else "build the engine again"
            versions = f"has format version {version}, this runtime reads version {FORMAT_VERSION}"
            raise BundleError(f"{source} {versions}: {advice}")
        record = msgspec.json.decode(raw, type=EngineRecord)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{source} is not the record of an engine: {error}") from error
    if missing := [network.file for network in record.networks.values() if network.file not in record.files]:
        raise BundleError(f"{source} is not the record of an engine: {missing[0]} is not among its files")
    if RECORD in record.files:
        raise BundleError(f"{source} is not the record of an engine: it lists itself")
    return record


def encode_record(record: EngineRecord) -> bytes:
    """The bytes of record.json: indented, in a fixed order."""
    return msgspec.json.format(msgspec.json.encode(record, order="deterministic"), indent=2) + b"\n"


def key_digest(key: EngineKey) -> str:
    """The first 10 hexadecimal digits of the key's SHA-256, with which the name of its folder ends."""
    return hashlib.sha256(msgspec.json.encode(key, order="deterministic")).hexdigest()[:10]


def engine_damage(engine: StoredEngine) -> str | None:
    """What is wrong with an engine, as a phrase, or None if its name and all its files are as recorded."""
    if not re.fullmatch(f"{PLAIN_NAME}_{key_digest(engine.record.key)}", engine.name):
        return f"{RECORD} is damaged (its key is not that of the folder's name)"
    for file, entry in engine.record.files.items():
        if problem := damage(engine.path, file, entry):
            return f"{file} {problem}"
    return None


def differences(stored: EngineKey, wanted: EngineKey) -> list[str]:
    """One phrase for every field in which two keys differ: "precision is fp32, not fp16"."""
    found = []
    for name in EngineKey.__struct_fields__:
        old, new = getattr(stored, name), getattr(wanted, name)
        if old == new:
            continue
        if name == "onnx":
            changed = sorted(file for file in old.keys() | new.keys() if old.get(file) != new.get(file))
            found.append(f"{' and '.join(changed)} changed since")
        else:
            missing = "any" if name == "sm" else "none"
            found.append(f"{name.replace('_', ' ')} is {_value(old, missing)}, not {_value(new, missing)}")
    return found


def _value(value: object, missing: str) -> str:
    if isinstance(value, list):
        return " and ".join(map(str, value)) or missing
    return "unknown" if value is None else str(value)
