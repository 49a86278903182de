"""Engine folders as a build would leave them, with files of nonsense or of the caller's choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from shadowdiffusion.runtime.bundle.engines import (
    RECORD,
    EngineKey,
    EngineRecord,
    NetworkRecord,
    encode_record,
    engine_stores,
    key_digest,
    network_digests,
)
from shadowdiffusion.runtime.bundle.folder import hash_file
from shadowdiffusion.runtime.bundle.opening import load_bundle

TENSORS: dict[str, dict[str, Any]] = {
    "image": {"kind": "input", "dtype": "FLOAT", "min": [1], "opt": [1], "max": [4]},
    "clean": {"kind": "output", "dtype": "FLOAT", "shape": [-1]},
}


def make_key(path: Path, **changes: Any) -> EngineKey:
    """A key of TensorRT for RTX that fits the bundle `path`."""
    key = EngineKey(
        device=None,
        sm=[89],
        driver=None,
        backend="tensorrt-rtx",
        backend_version="1.7.1.116",
        provider=None,
        onnx=network_digests(load_bundle(path)),
        precision="fp16",
        profile="64x64:64x64:64x64",
        batch="1:1:4",
        optimization_level=3,
        flags=[],
    )
    return msgspec.structs.replace(key, **changes)


def write_engine(
    store: Path,
    key: EngineKey,
    files: dict[str, bytes] | None = None,
    extra: dict[str, bytes] | None = None,
    **fields: Any,
) -> Path:
    """An engine folder in `store`; `files`: by the name of the network, else 600 bytes of nonsense each; `extra`
    files by name.
    """
    folder = store / f"{key.backend}_{key_digest(key)}"
    folder.mkdir(parents=True)
    networks = {}
    for network in [name for name in key.onnx if name.endswith(".onnx")]:
        file = f"{Path(network).stem}.engine"
        (folder / file).write_bytes((files or {}).get(network, b"engine" * 100))
        networks[network] = NetworkRecord(file, 1.5, TENSORS)
    for name, raw in (extra or {}).items():
        (folder / name).write_bytes(raw)
    record = EngineRecord(
        format_version=1,
        key=key,
        created="2026-01-01T00:00:00+00:00",
        networks=networks,
        files={file.name: hash_file(file) for file in sorted(folder.iterdir())},
        notes=[],
        kept_in_fp32={},
        gate=None,
        session=None,
        latency_ms={},
        workspace_mib=None,
        status="not run on a GPU yet",
    )
    (folder / RECORD).write_bytes(encode_record(msgspec.structs.replace(record, **fields)))
    return folder


def add_engine(path: Path, **changes: Any) -> str:
    """An engine of nonsense in the bundle's own store; returns its name."""
    return write_engine(engine_stores(load_bundle(path))[0], make_key(path, **changes)).name
