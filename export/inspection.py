"""What a bundle or an engine is, read from the files themselves: structs for JSON, and lines for people."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from shadowdiffusion.export.engines.fused_layers import fused_layers
from shadowdiffusion.export.engines.key import describe
from shadowdiffusion.export.engines.layers import LAYERS, Group, Layer, heaviest, layers, read_layers, summary
from shadowdiffusion.runtime.bundle.engines import (
    RECORD,
    EngineRecord,
    StoredEngine,
    engine_damage,
    engine_folders,
    engine_stores,
    read_engine,
)
from shadowdiffusion.runtime.bundle.folder import MANIFEST, NETWORKS, Bundle, Manifest, ModelInfo, Note, Verification
from shadowdiffusion.runtime.bundle.folder import Versions as Made
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.errors import BundleError
from shadowdiffusion.runtime.selection.fit import this_machine
from shadowdiffusion.runtime.selection.golden_check import quarantine
from shadowdiffusion.runtime.selection.profile import batch_sizes, image_sizes

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

HEAVIEST = 10
"""Layers that are listed unless all are asked for."""


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a graph computes for inputs of the size `estimated_for`, "BATCHxHEIGHTxWIDTH".

    groups: its layers by operator and precision. layers: the heaviest, or, if asked for, all of them in running order.
    """

    estimated_for: str
    macs: int
    groups: list[Group]
    layers: list[Layer]


class GraphFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A portable network: `weights` counts values by type, `operators` nodes by operator."""

    bytes: int
    opset: int
    inputs: dict[str, str]
    outputs: dict[str, str]
    weights: dict[str, int]
    nodes: int
    operators: dict[str, int]
    cost: Cost


class EngineFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="engine"):
    """An engine folder. state: "whole", or what is wrong with it; without a record nothing else is known.

    costs: by network, of the graphs it was compiled from. fused: by network, the layers that TensorRT made of them,
    where it can load the engine. verification: from the manifest of the bundle it is in; `outdated` if the engine has
    been built again since.
    """

    path: str
    state: str
    summary: str | None = None
    bytes: int = 0
    record: EngineRecord | None = None
    costs: dict[str, Cost] = {}
    fused: dict[str, list[dict[str, Any]]] = {}
    verification: Verification | None = None
    outdated: bool = False


class BundleFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="bundle"):
    """A bundle. sampling: as in the manifest, with the step counts instead of the tables. files: size in bytes."""

    path: str
    name: str
    task: str
    created: str
    versions: Made
    model: ModelInfo
    sampling: dict[str, Any]
    bytes: int
    files: dict[str, int]
    graphs: dict[str, GraphFacts]
    verification: dict[str, Verification]
    notes: list[Note]
    engines: dict[str, EngineFacts]


def inspect(path: Path, all_layers: bool = False) -> BundleFacts | EngineFacts:
    """Facts of a bundle (folder or zip file), or of one engine (its folder, or a file in it).

    Raises ExportError or BundleError for anything else.
    """
    folder = (path.parent if path.is_file() else path).resolve()
    if (folder / RECORD).is_file() and not (folder / MANIFEST).exists():
        root = folder.parent.parent
        manifest = load_bundle(root).manifest if (root / MANIFEST).is_file() else None
        engine = read_engine(folder)
        facts = _engine(engine, manifest, all_layers)
        return facts if engine_damage(engine) else msgspec.structs.replace(facts, fused=fused_layers(engine))
    return _bundle(load_bundle(path), path, all_layers)


def _bundle(bundle: Bundle, path: Path, all_layers: bool) -> BundleFacts:
    manifest, root = bundle.manifest, bundle.path
    side = -(-manifest.model.working_size // manifest.model.multiple) * manifest.model.multiple
    sampling = {key: value for key, value in msgspec.to_builtins(manifest.sampling).items() if key != "tables"}
    folders = engine_folders(*engine_stores(bundle))
    return BundleFacts(
        path=str(path),
        name=manifest.name,
        task=manifest.task,
        created=manifest.created,
        versions=manifest.versions,
        model=manifest.model,
        sampling=sampling | {"supported_steps": manifest.sampling.supported_steps},
        bytes=sum(entry.size for entry in manifest.files.values()),
        files={name: entry.size for name, entry in manifest.files.items()},
        graphs={name: _graph(root / name, side, all_layers) for name in NETWORKS if name in manifest.files},
        verification=manifest.verification,
        notes=manifest.notes,
        engines={folder.name: _stored(folder, manifest, all_layers) for folder in folders},
    )


def _stored(folder: Path, manifest: Manifest, all_layers: bool) -> EngineFacts:
    try:
        return _engine(read_engine(folder), manifest, all_layers)
    except BundleError as error:
        return EngineFacts(str(folder), str(error))


def _engine(engine: StoredEngine, manifest: Manifest | None, all_layers: bool) -> EngineFacts:
    record, damaged = engine.record, engine_damage(engine)
    found = manifest.verification.get(engine.name) if manifest else None
    costs = dict[str, Cost]()
    if LAYERS in record.files and not damaged:
        (_, (height, width), _), (_, batch, _) = image_sizes(record.key), batch_sizes(record.key)
        size = f"{batch}x{height}x{width}"
        costs = {name: _cost(size, of, all_layers) for name, of in read_layers(engine.path).items()}
    return EngineFacts(
        path=str(engine.path),
        state=damaged or quarantine(engine, this_machine().device(record.key)) or "whole",
        summary=describe(record.key),
        bytes=sum(entry.size for entry in record.files.values()),
        record=record,
        costs=costs,
        verification=found,
        outdated=found is not None and found.created < record.created,
    )


def _graph(path: Path, side: int, all_layers: bool) -> GraphFacts:
    import onnx

    model = onnx.load_model(path)
    graph, size = model.graph, dict[str, int]()
    for tensor in graph.initializer:
        kind, count = onnx.TensorProto.DataType.Name(tensor.data_type).lower(), 1
        for length in tensor.dims:
            count *= length
        size[kind] = size.get(kind, 0) + count
    operators = Counter(node.op_type for node in graph.node)
    return GraphFacts(
        bytes=path.stat().st_size,
        opset=_opset(model),
        inputs={value.name: _shape(value) for value in graph.input},
        outputs={value.name: _shape(value) for value in graph.output},
        weights=size,
        nodes=sum(operators.values()),
        operators=dict(operators.most_common()),
        cost=_cost(f"1x{side}x{side}", layers(model, 1, side, side), all_layers),
    )


def _cost(size: str, found: list[Layer], all_layers: bool) -> Cost:
    return Cost(
        estimated_for=size,
        macs=sum(layer.macs for layer in found),
        groups=summary(found),
        layers=found if all_layers else [layer for layer in heaviest(found, HEAVIEST) if layer.macs],
    )


def _opset(model: ModelProto) -> int:
    return next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def _shape(value: ValueInfoProto) -> str:
    import onnx

    tensor = value.type.tensor_type
    sizes = ", ".join(str(dim.dim_value or dim.dim_param or "?") for dim in tensor.shape.dim)
    return f"{onnx.TensorProto.DataType.Name(tensor.elem_type).lower()}[{sizes}]"
