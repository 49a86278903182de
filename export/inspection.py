"""What a bundle or an engine is, read from the files themselves, as data for JSON and as lines for people."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from export.engines.key import describe
from runtime.bundle import DENOISER, MANIFEST, PRIOR, Bundle, load_bundle
from runtime.engines import RECORD, StoredEngine, engine_damage, engine_folders, engine_stores, read_engine
from runtime.errors import BundleError

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

Facts = dict[str, Any]


def inspect(path: Path) -> Facts:
    """Facts of a bundle (folder or zip file), or of one engine (its folder, or a file in it).

    Raises ExportError or BundleError for anything else.
    """
    folder = path.parent if path.is_file() else path
    if (folder / RECORD).is_file() and not (folder / MANIFEST).exists():
        return {"kind": "engine", "path": str(folder)} | _engine(read_engine(folder.resolve()))
    return _bundle(load_bundle(path), path)


def _bundle(bundle: Bundle, path: Path) -> Facts:
    manifest, root = bundle.manifest, bundle.path
    sampling = {key: value for key, value in msgspec.to_builtins(manifest.sampling).items() if key != "tables"}
    return {
        "kind": "bundle",
        "path": str(path),
        "name": manifest.name,
        "task": manifest.task,
        "created": manifest.created,
        "versions": msgspec.to_builtins(manifest.versions),
        "model": msgspec.to_builtins(manifest.model),
        "sampling": sampling | {"supported_steps": manifest.sampling.supported_steps},
        "bytes": sum(entry.size for entry in manifest.files.values()),
        "files": {name: entry.size for name, entry in manifest.files.items()},
        "graphs": {name: _graph(root / name) for name in (PRIOR, DENOISER) if name in manifest.files},
        "accuracy": manifest.accuracy,
        "notes": msgspec.to_builtins(manifest.notes),
        "engines": {folder.name: _stored(folder) for folder in engine_folders(*engine_stores(bundle))},
    }


def _stored(folder: Path) -> Facts:
    try:
        return {"path": str(folder)} | _engine(read_engine(folder))
    except BundleError as error:
        return {"path": str(folder), "state": str(error)}


def _engine(engine: StoredEngine) -> Facts:
    facts: Facts = msgspec.to_builtins(engine.record)
    return {"summary": describe(engine.record.key), "state": engine_damage(engine) or "whole"} | facts


def _graph(path: Path) -> Facts:
    """Inputs, outputs, operators and weights of an ONNX file."""
    import onnx

    model = onnx.load_model(path)
    graph, size = model.graph, dict[str, int]()
    for tensor in graph.initializer:
        kind, count = onnx.TensorProto.DataType.Name(tensor.data_type).lower(), 1
        for length in tensor.dims:
            count *= length
        size[kind] = size.get(kind, 0) + count
    operators = Counter(node.op_type for node in graph.node)
    return {
        "bytes": path.stat().st_size,
        "opset": _opset(model),
        "inputs": {value.name: _shape(value) for value in graph.input},
        "outputs": {value.name: _shape(value) for value in graph.output},
        "weights": size,
        "nodes": sum(operators.values()),
        "operators": dict(operators.most_common()),
    }


def _opset(model: ModelProto) -> int:
    return next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def _shape(value: ValueInfoProto) -> str:
    import onnx

    tensor = value.type.tensor_type
    sizes = ", ".join(str(dim.dim_value or dim.dim_param or "?") for dim in tensor.shape.dim)
    return f"{onnx.TensorProto.DataType.Name(tensor.elem_type).lower()}[{sizes}]"


def lines(facts: Facts) -> list[str]:
    """The facts for people, a label and its text per line."""
    return _engine_lines(facts) if facts["kind"] == "engine" else _bundle_lines(facts)


def _bundle_lines(facts: Facts) -> list[str]:
    model, sampling, versions = facts["model"], facts["sampling"], facts["versions"]
    steps = ", ".join(map(str, sampling["supported_steps"]))
    made = ", ".join(f"{name} {value}" for name, value in versions.items())
    rows = [
        ("bundle", f"{facts['name']} ({facts['task']}), {facts['path']}, {_size(facts['bytes'])}"),
        ("made", f"{facts['created']} by {made}"),
        ("sizes", f"long side {model['working_size']} pixels, multiples of {model['multiple']}"),
        ("steps", f"{sampling['default_steps']} (of {steps}), masks: {sampling['mask_policy']}"),
    ]
    for name, graph in facts["graphs"].items():
        weights = " and ".join(f"{count:,} {kind}" for kind, count in graph["weights"].items())
        operators = ", ".join(f"{count} {kind}" for kind, count in graph["operators"].items())
        rows += [
            (name, f"{_size(graph['bytes'])}, opset {graph['opset']}, {graph['nodes']} nodes, weights: {weights}"),
            ("  inputs", ", ".join(f"{key} {shape}" for key, shape in graph["inputs"].items())),
            ("  outputs", ", ".join(f"{key} {shape}" for key, shape in graph["outputs"].items())),
            ("  operators", operators),
        ]
    rows += [("accuracy", f"{key} {value:g} dB") for key, value in facts["accuracy"].items()]
    rows += [(note["exactness"], f"{note['name']}: {note['detail']}") for note in facts["notes"]]
    for name, engine in facts["engines"].items():
        rows += [("engine", name), *_engine_rows(engine)]
    return _aligned(rows)


def _engine_lines(facts: Facts) -> list[str]:
    return _aligned([("engine", facts["path"]), *_engine_rows(facts)])


def _engine_rows(facts: Facts) -> list[tuple[str, str]]:
    if "key" not in facts:
        return [("  state", facts["state"])]
    key, files = facts["key"], facts["files"]
    rows = [
        ("  for", facts["summary"]),
        ("  batch", f"{key['batch']}, optimization level {key['optimization_level']}"),
        ("  state", f"{facts['state']}; {facts['status']}"),
        *(("  built from", f"{name} with SHA-256 {digest}") for name, digest in key["onnx"].items()),
    ]
    for name, network in facts["networks"].items():
        size = _size(files[network["file"]]["size"])
        rows.append((f"  {network['file']}", f"{size}, built from {name} in {network['seconds']} s"))
        for tensor, info in network["tensors"].items():
            shape = info["shape"] if info["kind"] == "output" else f"{info['min']} {info['opt']} {info['max']}"
            rows.append((f"    {info['kind']}", f"{tensor} {info['dtype'].lower()} {shape}"))
    rows += [(f"  {note['exactness']}", f"{note['name']}: {note['detail']}") for note in facts["notes"]]
    return rows


def _aligned(rows: list[tuple[str, str]]) -> list[str]:
    return [f"{label:<18} {text}" for label, text in rows]


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
