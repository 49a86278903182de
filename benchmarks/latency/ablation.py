"""Ours, each optimisation added one at a time: first the lean loop, then the graph passes, then the engines.

Export passes add up in the order in which an export runs them. Engine passes are candidates that `build-engine`
measures on the machine: each is added alone to the exported graphs, and the engine has those that paid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from shadowdiffusion.benchmarks.baselines.plain_onnx import PLAIN_ONNX
from shadowdiffusion.benchmarks.baselines.setting import Array, Contestant, Restore, Setting, Unavailable
from shadowdiffusion.benchmarks.latency.graph_networks import GraphsInMemory
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes import fold, mask_head, time_table
from shadowdiffusion.export.passes.catalog import FOLD, MASK_HEAD, PASSES, TIME_TABLE, Pass
from shadowdiffusion.export.schedule import timesteps, with_rows
from shadowdiffusion.runtime.bundle import folder as contents
from shadowdiffusion.runtime.bundle.engines import BackendName, Precision, Provider, SessionSettings
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.errors import RestoreError
from shadowdiffusion.runtime.loop.host_loop import HostLoop
from shadowdiffusion.runtime.loop.loop import Loop

if TYPE_CHECKING:
    from onnx import ModelProto

LEAN_LOOP, BUNDLE = "lean-loop", "bundle"
ENGINE_PASSES = tuple(item for item in PASSES if item.stage == "engine")
Kind = tuple[BackendName, Precision]
CPU_ENGINES: tuple[Kind, ...] = (("onnxruntime", "fp32"), ("onnxruntime", "int8"), ("cpu-kernels", "fp32"))
GPU_ENGINES: tuple[Kind, ...] = (
    ("onnxruntime", "fp32"),
    ("onnxruntime", "fp16"),
    ("tensorrt", "fp16"),
    ("tensorrt", "int8"),
    ("tensorrt", "fp8"),
    ("tensorrt-rtx", "fp16"),
)
Report = Callable[[str], None]


@dataclass(frozen=True)
class Graphs:
    """Networks by file name and the time table, after some passes."""

    graphs: Mapping[str, ModelProto]
    rows: Array | None = None


class Engines:
    """Engines of the benchmark's bundles, built when first asked for. kinds: those to try; `report` hears how it goes.

    One that could not be built is not tried again.
    """

    def __init__(self, kinds: Sequence[Kind], report: Report) -> None:
        self.kinds, self._report = kinds, report
        self._refused = dict[object, str]()

    def loop(self, name: str, setting: Setting) -> Loop:
        """The loop of BUNDLE or of an engine, by the name of the contestant. Raises Unavailable where there is none."""
        if name == BUNDLE:
            return _bundle_loop(setting)
        kind = next(kind for kind in self.kinds if engine_name(kind) == name)
        key = setting.subject.bundle.path, kind, setting.images.shape
        if key in self._refused:
            raise Unavailable(self._refused[key])
        try:
            return _engine_loop(setting, kind, self._report)
        except (ExportError, RestoreError, ImportError) as error:
            self._refused[key] = str(error)
            raise Unavailable(str(error)) from error


def ablation(engines: Engines) -> list[Contestant]:
    """Our contestants."""
    chain = [
        (LEAN_LOOP, "the runtime's loop: what is constant is computed once, in place, no mask that nobody reads"),
        *((item.name, item.summary) for item in (TIME_TABLE, MASK_HEAD, FOLD)),
    ]
    found, parent = list[Contestant](), PLAIN_ONNX.name
    for name, title in chain:
        found.append(Contestant(name, title, partial(_prepare_graphs, name, None), parent, ours=True))
        parent = name
    for item in ENGINE_PASSES:
        prepare = partial(_prepare_graphs, FOLD.name, item)
        found.append(Contestant(item.name, item.summary, prepare, parent, item.exactness == "exact", ours=True))
    title, prepare = (
        "the bundle as it is exported, what runs where no engine is",
        partial(_prepare_loop, engines, BUNDLE),
    )
    found.append(Contestant(BUNDLE, title, prepare, parent, ours=True))
    for kind in engines.kinds:
        backend, precision = kind
        how = "the networks by our CPU kernels" if backend == "cpu-kernels" else "measured passes and settings"
        title = f"an engine of {backend} in {precision}: {how}, compiled ahead"
        prepare = partial(_prepare_loop, engines, engine_name(kind))
        single: Kind = (backend, "fp32")
        parent = engine_name(single) if precision != "fp32" and single in engines.kinds else BUNDLE
        found.append(Contestant(engine_name(kind), title, prepare, parent, precision == "fp32", ours=True))
    return found


def engine_name(kind: Kind) -> str:
    """Of the contestant."""
    return f"engine {' '.join(kind)}"


def passed(setting: Setting, last: str) -> Graphs:
    """The plain export after the export passes up to `last`, weights in float32."""
    graphs = setting.subject.plain_graphs()
    denoiser, sampling = graphs[contents.DENOISER], setting.subject.bundle.manifest.sampling
    if last == LEAN_LOOP:
        return Graphs(graphs)
    denoiser, rows = time_table.apply(denoiser, timesteps(sampling))
    if last == TIME_TABLE.name:
        return Graphs(graphs | {contents.DENOISER: denoiser}, rows)
    denoiser, head = mask_head.split(denoiser)
    graphs |= {contents.DENOISER: denoiser, contents.MASK_HEAD: head}
    if last == MASK_HEAD.name:
        return Graphs(graphs, rows)
    return Graphs({name: fold.apply(graph) for name, graph in graphs.items()}, rows)


def _prepare_graphs(last: str, extra: Pass | None, setting: Setting) -> Restore:
    """The lean loop on graphs after the export passes up to `last`, and after one more for engines."""
    found = passed(setting, last)
    graphs = found.graphs
    if extra is not None:
        assert extra.apply is not None
        graphs = {name: extra.apply(graph) for name, graph in graphs.items()}
        before = [node.SerializeToString() for graph in found.graphs.values() for node in graph.graph.node]
        if before == [node.SerializeToString() for graph in graphs.values() for node in graph.graph.node]:
            raise Unavailable(f"{extra.name} finds nothing to change in these graphs")
    settings = SessionSettings(setting.threads, True, {})
    networks = GraphsInMemory(graphs, found.rows, _provider(setting), settings)
    return restoring(setting, HostLoop(setting.subject.bundle, networks))


def _prepare_loop(engines: Engines, name: str, setting: Setting) -> Restore:
    return restoring(setting, engines.loop(name, setting))


def _bundle_loop(setting: Setting) -> Loop:
    """What runs the bundle where it has no engine. Raises Unavailable."""
    from shadowdiffusion.runtime.selection.selection import choose

    try:
        return choose(setting.subject.bundle, "portable", _provider(setting), setting.threads)
    except RestoreError as error:
        raise Unavailable(str(error)) from error


def _engine_loop(setting: Setting, kind: Kind, report: Report) -> Loop:
    """Build the engine unless it is there, and open it."""
    from shadowdiffusion.export.engines.build import build_engines
    from shadowdiffusion.export.engines.key import EngineOptions
    from shadowdiffusion.runtime.selection.engine_networks import open_loop
    from shadowdiffusion.runtime.selection.fit import this_machine

    (backend, precision), bundle = kind, setting.subject.bundle
    count, _, height, width = setting.images.shape
    options = EngineOptions(
        backend,
        precision,
        profile=f"{height}x{width}",
        batch=f"1:1:{count}",
        threads=setting.threads if backend == "onnxruntime" and setting.device.type == "cpu" else None,
        provider=_provider(setting) if backend == "onnxruntime" else None,
    )
    engine = build_engines(bundle.path, options, report).engine
    return open_loop(bundle, engine, this_machine().device(engine.record.key) or "", setting.threads, report)


def restoring(setting: Setting, loop: Loop) -> Restore:
    """The restoration of the setting's images by a loop of ours."""
    table = _with_rows(setting.subject.bundle, setting.steps)

    def restore() -> Array:
        return loop.restore(setting.images, setting.masks, table, setting.seeds).image

    return restore


def _with_rows(bundle: Bundle, steps: int) -> list[contents.Step]:
    """The table of a step count; a bundle exported without its time table gets the rows that `passed` makes."""
    sampling = bundle.manifest.sampling
    if contents.ROWS not in bundle.manifest.files:
        sampling = with_rows(sampling)
    return sampling.tables[str(steps)]


def _provider(setting: Setting) -> Provider:
    return "cuda" if setting.device.type == "cuda" else "cpu"
