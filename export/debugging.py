"""Where the graphs of an engine depart from the float32 networks: value by value, on the inputs of real loops.

Polygraphy makes every value that both graphs compute an output of each, runs both by ONNX Runtime, unoptimised, and
measures the signal-to-noise ratio of every value. A graph in half precision is simulated in float32, rounded where it
says (`export.precision.simulate`). The layers that must go back to float32 are those that `export.precision` puts back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from shadowdiffusion.export.commands.console import Bar, Report
from shadowdiffusion.export.engines.key import EngineOptions, describe, engine_key
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.runtime.bundle.engines import BackendName, EngineKey, Precision, stored_engines
from shadowdiffusion.runtime.bundle.folder import NETWORKS, Bundle
from shadowdiffusion.runtime.bundle.opening import load_bundle

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from shadowdiffusion.export.precision.networks import Feed

LEAST = {"fp32": 80.0, "fp16": 40.0, "bf16": 22.0, "int8": 10.0, "fp8": 10.0}
"""Signal-to-noise ratio in dB below which a layer has departed, by precision: 9 dB and more below what the built-in
bundles have in fp16 and bf16."""
WORST = 5
"""Layers that are listed beside the first."""
CALLS = 3
"""Evaluations of a network that are compared: the first, one halfway and the last of a loop."""
MOST_DB = 200.0


class Departure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One value of a network: the output of a layer. snr, inputs: dB against float32, 200 for identical values.

    inputs: of what the layer reads, the worst; a layer that departs although its inputs agree is itself the cause.
    None for values that are not finite.
    """

    network: str
    layer: str
    operator: str
    value: str
    snr: float | None
    inputs: float | None


class Debugged(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`debug`: the comparison of one engine's graphs with float32.

    engine: its name, None for graphs that no stored engine has. compared: values. first: the first layer (convolution
    or product) below `least`, or value that is not finite, in running order; None if there is none. worst: layers.
    kept_in_fp32: layers that must go back to float32 for the accuracy gate, by network; None if that was not asked for
    or cannot be had, for which `search` has the reason.
    """

    bundle: str
    engine: str | None
    key: str
    least: float
    compared: int
    first: Departure | None
    worst: list[Departure]
    kept_in_fp32: dict[str, list[str]] | None
    search: str | None


def debug(
    path: Path,
    engine: str | None,
    backend: BackendName,
    precision: Precision,
    photos: Sequence[Path],
    least: float | None,
    search: bool,
    report: Report,
    bar: Bar,
) -> Debugged:
    """Compare the graphs of an engine with the float32 networks of its bundle, and find the first layer that departs.

    Layers are convolutions and products. What lies between them may magnify rounding and lose it again: there, only
    values that are not finite count.

    Args:
        path: the bundle, a folder or a zip file.
        engine: name of a stored engine; None: the graphs that `backend` would get in `precision`, nothing put back.
        photos: for the inputs, and for the search; () takes the example.
        least: dB below which a layer has departed, None for that of the precision.
        search: whether to find the layers that must go back to float32.

    Raises:
        ExportError: there is no such engine, or its graphs are no ONNX graphs.
        BundleError: the bundle is damaged.
    """
    import onnx
    import polygraphy  # noqa: F401  (before the work that is lost without it)

    from shadowdiffusion.export.precision.mixed import LAYERS, single_graph
    from shadowdiffusion.export.precision.prepare import prepare

    bundle = load_bundle(path)
    singles = {
        name: single_graph(onnx.load_model(bundle.path / name)) for name in NETWORKS if name in bundle.manifest.files
    }
    if engine is None:
        key = engine_key(EngineOptions(backend, precision), bundle, "", None)
        kept = dict[str, list[str]]()
    else:
        stored = stored_engines(bundle)
        if engine not in stored:
            known = ", ".join(stored) or "none; --precision names graphs of no engine"
            raise ExportError(f"bundle {path} has no engine {engine} (it has: {known})")
        key, kept = stored[engine].record.key, stored[engine].record.kept_in_fp32
    if key.backend == "cpu-kernels":
        raise ExportError(f"engine {engine} has no ONNX graph: shadowdiffusion export verify compares what it returns")
    if engine and key.backend == "onnxruntime":
        graphs = {name: onnx.load_model(stored[engine].path / name) for name in singles}
    else:
        graphs = _graphs(bundle, key, singles, kept, photos, report, bar)
    floor = LEAST[key.precision] if least is None else least
    report(f"comparing every value of {describe(key)} with float32 on {CALLS} evaluations of each network")
    found = list[Departure]()
    for name, feeds in _feeds(bundle, singles, photos).items():
        with bar(f"values of {name}") as progress:
            progress(0.0, "")
            found += departures(name, singles[name], graphs[name], feeds)
    departed = [each for each in found if each.snr is None or (each.operator in LAYERS and each.snr < floor)]
    put_back, reason = None, None
    if search and departed and key.precision != "fp32":
        try:
            put_back = _put_back(prepare(bundle, key, None, photos, report, bar).kept_in_fp32, key, singles)
        except ExportError as error:
            reason = str(error)
    return Debugged(
        bundle=str(path),
        engine=engine,
        key=describe(key),
        least=floor,
        compared=len(found),
        first=departed[0] if departed else None,
        worst=sorted((each for each in found if each.operator in LAYERS), key=_decibel)[:WORST],
        kept_in_fp32=put_back,
        search=reason,
    )


def departures(network: str, reference: ModelProto, graph: ModelProto, feeds: Sequence[Feed]) -> list[Departure]:
    """How near `graph` is to the float32 `reference`: every value that both compute, in running order.

    Args:
        network: the file name, for the result.
        reference: a float32 graph.
        graph: the same network otherwise; half precision is simulated.
        feeds: inputs; the worst of them counts.
    """
    from shadowdiffusion.export.precision.simulate import simulated

    low = simulated(graph)
    computed = {name for node in low.graph.node for name in node.output}
    producers = {name: node for node in reference.graph.node for name in node.output if name in computed}
    snr = _measured(reference, low, list(producers), feeds)

    def departure(value: str, node: NodeProto) -> Departure:
        read = [snr[name] for name in node.input if name in snr]
        inputs = min(read, default=MOST_DB)
        layer = node.name or value
        return Departure(network, layer, node.op_type, value, _finite(snr[value]), _finite(inputs))

    return [departure(value, node) for value, node in producers.items() if value in snr]


def _measured(
    reference: ModelProto, graph: ModelProto, values: Sequence[str], feeds: Sequence[Feed]
) -> dict[str, float]:
    """The worst signal-to-noise ratio in dB of each value of floating point, and of one shape in both graphs."""
    import onnxruntime
    from polygraphy.backend.onnx import BytesFromOnnx, ModifyOutputs
    from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
    from polygraphy.comparator import Comparator, SnrCompareFunc

    plain = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL

    def runner(model: ModelProto, name: str) -> Any:
        marked = BytesFromOnnx(ModifyOutputs(model, outputs=list(values), copy=True))
        return OnnxrtRunner(SessionFromOnnx(marked, graph_optimization_level=plain), name=name)

    worst, measure = dict[str, float](), SnrCompareFunc()
    with _quiet():
        runners = [runner(reference, "float32"), runner(graph, "engine")]
        for results in Comparator.run(runners, data_loader=feeds, streaming=True):
            (_, (truth,)), (_, (found,)) = results
            shared = [name for name in values if truth[name].dtype.kind == "f" and truth[name].any()]
            for name, result in measure(_only(truth, shared), _only(found, shared)).items():
                if result is not False:  # of another shape: another layout, which nothing can be said of
                    value = -math.inf if math.isnan(result.snr) else result.snr
                    worst[name] = min(worst.get(name, MOST_DB), value)
    return worst


def _only(outputs: Any, names: Sequence[str]) -> Any:
    """Some of the outputs of one evaluation."""
    from polygraphy.comparator import IterationResult

    return IterationResult({name: outputs[name] for name in names}, runner_name=outputs.runner_name)


def _graphs(
    bundle: Bundle,
    key: EngineKey,
    singles: dict[str, ModelProto],
    kept: dict[str, list[str]],
    photos: Sequence[Path],
    report: Report,
    bar: Bar,
) -> dict[str, ModelProto]:
    """The graphs that an engine of TensorRT is compiled from."""
    from shadowdiffusion.export.precision.mixed import mixed_graph
    from shadowdiffusion.export.precision.prepare import prepare

    if key.precision in ("fp16", "bf16"):
        return {name: mixed_graph(g, key.precision, frozenset(kept.get(name, ()))) for name, g in singles.items()}
    return prepare(bundle, key, None, photos, report, bar).graphs


def _put_back(kept: dict[str, list[str]], key: EngineKey, singles: dict[str, ModelProto]) -> dict[str, list[str]]:
    """The kept layers but those that half precision cannot have anyway, because it does not hold their weights."""
    from shadowdiffusion.export.precision.mixed import float32_layers, mixed_graph

    kind, found = key.precision, dict[str, list[str]]()
    for network, layers in kept.items():
        anyway = float32_layers(mixed_graph(singles[network], kind)) if kind in ("fp16", "bf16") else ()
        if chosen := [layer for layer in layers if layer not in anyway]:
            found[network] = chosen
    return found


def _feeds(bundle: Bundle, singles: dict[str, ModelProto], photos: Sequence[Path]) -> dict[str, list[Feed]]:
    """Inputs of some evaluations of every network, from float32 loops on a small photo, with its mask and without."""
    from shadowdiffusion.export.photos import golden_sample
    from shadowdiffusion.export.precision.networks import SessionNetworks, session
    from shadowdiffusion.export.precision.trajectories import loops_of, trajectories
    from shadowdiffusion.runtime.bundle.time_table import read_rows

    sessions = {name: session(graph) for name, graph in singles.items()}
    networks = SessionNetworks(sessions, read_rows(bundle), record=[])
    loops = loops_of([golden_sample(photos, bundle.manifest.model.multiple)], bundle)
    found = trajectories(networks, bundle, loops, lambda fraction, phase: None)
    return {name: [feeds[i] for i in sorted({0, len(feeds) // 2, len(feeds) - 1})] for name, feeds in found.items()}


def lines(found: Debugged) -> Iterable[str]:
    """The result for people."""
    what = f"{found.compared} values compared, {found.least:g} dB are expected of each layer"
    yield f"{found.engine or found.key}: {what}"
    if found.first is None:
        yield "no layer departs"
    else:
        yield f"first: {_line(found.first)}"
        yield from (f"worst: {_line(each)}" for each in found.worst)
    if found.kept_in_fp32 is not None:
        layers = [f"{layer} of {network}" for network, names in found.kept_in_fp32.items() for layer in names]
        yield f"back to float32 for the accuracy gate: {', '.join(layers) or 'no layer'}"
    if found.search:
        yield f"the search for layers to put back ends: {found.search}"


def _line(each: Departure) -> str:
    snr, inputs = (f"{value:.1f} dB" if value is not None else "not finite" for value in (each.snr, each.inputs))
    return f"{each.network}, {each.operator} {each.layer}: {snr}, its inputs {inputs}"


def _decibel(each: Departure) -> float:
    return -math.inf if each.snr is None else each.snr


def _finite(value: float) -> float | None:
    return round(value, 2) if math.isfinite(value) else None


def _quiet() -> AbstractContextManager[Any]:
    """Hush Polygraphy, which logs on stdout."""
    from polygraphy.logger import G_LOGGER

    quiet: AbstractContextManager[Any] = G_LOGGER.verbosity(G_LOGGER.CRITICAL)
    return quiet
