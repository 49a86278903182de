"""Engine folders whose files hold the ONNX graphs that they stand for, as `tests.runtime.fake_tensorrt` runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from shadowdiffusion.runtime.bundle.engines import (
    RECORD,
    EngineKey,
    NetworkRecord,
    StoredEngine,
    encode_record,
    engine_stores,
    read_engine,
)
from shadowdiffusion.runtime.bundle.folder import (
    DENOISER,
    MASK_HEAD,
    NETWORKS,
    ROWS,
    Bundle,
    hash_file,
    hash_files,
    write_manifest,
)
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.selection.profile import batch_sizes
from tests.runtime.engine_folders import make_key, write_engine
from tests.runtime.fake_tensorrt import TensorRT, strip_weights

SIZES = {"min": (16, 16), "opt": (32, 48), "max": (64, 96)}
TYPES = {TensorProto.FLOAT: "FLOAT", TensorProto.FLOAT16: "HALF"}


def tensors(model: onnx.ModelProto, batch: list[int]) -> dict[str, dict[str, Any]]:
    """What the builder records of the inputs and outputs of a graph."""
    found: dict[str, dict[str, Any]] = {}
    for value in model.graph.input:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        ranges = {
            name: [count, *([shape[1], *SIZES[name]] if len(shape) == 4 else [])]
            for name, count in zip(SIZES, batch, strict=True)
        }
        found[value.name] = {"kind": "input", "dtype": TYPES[value.type.tensor_type.elem_type], **ranges}
    for value in model.graph.output:
        found[value.name] = {"kind": "output", "dtype": "FLOAT", "shape": [-1, -1, -1, -1]}
    return found


def store(
    bundle: Bundle,
    *,
    stripped: bool = False,
    change: Callable[[onnx.ModelProto], onnx.ModelProto] = lambda denoiser: denoiser,
    **changes: Any,
) -> StoredEngine:
    """An engine folder for images of SIZES and batches of one or two; `change` makes another denoiser."""
    profile = ":".join(f"{height}x{width}" for height, width in SIZES.values())
    changes = {"backend": "tensorrt", "backend_version": TensorRT.__version__, "batch": "1:1:2"} | changes
    if stripped:
        changes["flags"] = ["strip-weights"]
    key: EngineKey = make_key(bundle.path, **{"profile": profile, "sm": [90], **changes})
    folder = write_engine(engine_stores(bundle)[0], key)
    graphs = {name: onnx.load_model(bundle.path / name) for name in NETWORKS if name in bundle.manifest.files}
    graphs[DENOISER] = change(graphs[DENOISER])
    if MASK_HEAD in graphs:
        graphs[MASK_HEAD].graph.name = "mask head"
    networks = {}
    for name, graph in graphs.items():
        file = f"{name.removesuffix('.onnx')}.engine"
        raw = (strip_weights(graph) if stripped else graph).SerializeToString()
        (folder / file).write_bytes(raw)
        networks[name] = NetworkRecord(file, 1.0, tensors(graph, batch_sizes(key)))
    engine = read_engine(folder)
    files = {network.file: hash_file(folder / network.file) for network in networks.values()}
    record = msgspec.structs.replace(engine.record, networks=networks, files=files)
    (folder / RECORD).write_bytes(encode_record(record))
    return StoredEngine(folder, record)


def packed_denoiser(model: onnx.ModelProto, kind: str) -> onnx.ModelProto:
    """The graph with `input` split into the three inputs that it had."""
    graph, low = model.graph, TensorProto.FLOAT16 if kind == "HALF" else TensorProto.FLOAT
    sizes = numpy_helper.from_array(np.array([3, 1, 3]), "sizes")
    nodes = [
        helper.make_node("Cast", ["input"], ["single"], to=TensorProto.FLOAT),
        helper.make_node("Split", ["single", "sizes"], ["image", "mask", "x_t"], axis=1),
        *graph.node,
    ]
    values = [value for value in graph.input if value.name not in ("image", "mask", "x_t")]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend([helper.make_tensor_value_info("input", low, ["N", 7, "H", "W"]), *values])
    graph.initializer.append(sizes)
    return model


def tell_by_rows(bundle: Bundle) -> Bundle:
    """The bundle with a denoiser that takes a row of a table, whose second of five numbers is the timestep."""
    model = onnx.load_model(bundle.path / DENOISER)
    graph = model.graph
    nodes = [helper.make_node("Slice", ["row", "second", "third", "second"], ["t"]), *graph.node]  # along axis 1
    values = [value for value in graph.input if value.name != "t"]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend([*values, helper.make_tensor_value_info("row", TensorProto.FLOAT, [1, 5])])
    graph.initializer.extend(
        numpy_helper.from_array(np.array([at]), name) for at, name in ((1, "second"), (2, "third"))
    )
    onnx.save_model(model, bundle.path / DENOISER)
    manifest = bundle.manifest
    times = sorted({step.t for table in manifest.sampling.tables.values() for step in table})
    rows = np.random.default_rng(1).random((len(times), 5), np.float32)
    rows[:, 1] = times
    np.save(bundle.path / ROWS, rows)
    tables = {
        key: [msgspec.structs.replace(step, row=times.index(step.t)) for step in table]
        for key, table in manifest.sampling.tables.items()
    }
    sampling = msgspec.structs.replace(manifest.sampling, tables=tables)
    write_manifest(bundle.path, msgspec.structs.replace(manifest, sampling=sampling, files=hash_files(bundle.path)))
    return load_bundle(bundle.path)
