"""The facts of `export.inspection` as lines for people, a label and its text in each, at most 100 columns of it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from shadowdiffusion.export.commands.results import COLUMNS, table
from shadowdiffusion.export.engines.layers import Group
from shadowdiffusion.export.inspection import BundleFacts, Cost, EngineFacts, GraphFacts
from shadowdiffusion.runtime.bundle.folder import Note

LABEL = 16
SMALL = 0.02
"""Share of the bytes moved below which operators without products are summed up as others."""

Row = tuple[str, str]


def lines(facts: BundleFacts | EngineFacts) -> list[str]:
    """The facts, readable at 100 columns."""
    return _bundle(facts) if isinstance(facts, BundleFacts) else _engine(facts)


def _bundle(facts: BundleFacts) -> list[str]:
    model, sampling, made = facts.model, facts.sampling, facts.versions
    steps = ", ".join(map(str, sampling["supported_steps"]))
    by = f"shadowdiffusion {made.shadowdiffusion}, torch {made.torch}, onnx {made.onnx}"
    rows = [
        ("bundle", f"{facts.name} ({facts.task}), {facts.path}"),
        ("size", f"{_size(facts.bytes)} in {len(facts.files)} files"),
        ("made", f"{facts.created} by {by}"),
        ("images", f"long side {model.working_size} pixels, multiples of {model.multiple}"),
        ("steps", f"{sampling['default_steps']} (of {steps}), masks: {sampling['mask_policy']}"),
        *map(_note, facts.notes),
    ]
    text = _aligned(rows)
    for name, graph in facts.graphs.items():
        text += ["", *_graph(name, graph)]
    for name, engine in facts.engines.items():
        text += ["", f"engine {name}", *_engine(engine)]
    current = {name: found for name, found in facts.verification.items() if name not in facts.engines}
    for name, found in current.items():
        gone = "" if name == "onnx" else " (an engine that is not here)"
        text += ["", *table(f"accuracy of {name}{gone}", found)]
    return text if facts.verification else [*text, "", "accuracy: never measured (shadowdiffusion export verify)"]


def _graph(name: str, graph: GraphFacts) -> list[str]:
    weights = " and ".join(f"{count:,} {kind}" for kind, count in graph.weights.items())
    rows = [
        (name, f"{_size(graph.bytes)}, opset {graph.opset}, {graph.nodes} nodes, weights: {weights}"),
        ("  inputs", ", ".join(f"{key} {shape}" for key, shape in graph.inputs.items())),
        ("  outputs", ", ".join(f"{key} {shape}" for key, shape in graph.outputs.items())),
    ]
    return _aligned(rows) + _cost(graph.cost)


def _cost(cost: Cost) -> list[str]:
    """Estimated cost by operator and precision, then layer by layer."""
    text = [
        f"  estimated for {cost.estimated_for}: {cost.macs / 1e9:.2f} GMAC",
        f"    {'operator':<24} {'precision':<9} {'nodes':>6} {'GMAC':>9} {'MACs':>7} {'MB moved':>10}",
    ]
    moved = sum(group.bytes for group in cost.groups)
    small = [group for group in cost.groups if not group.macs and group.bytes < SMALL * moved]
    shown = [group for group in cost.groups if group not in small]
    if small:
        shown.append(Group("others", "", sum(group.count for group in small), 0, sum(group.bytes for group in small)))
    for group in shown:
        share = 100 * group.macs / cost.macs if cost.macs else 0.0
        figures = f"{group.count:>6} {group.macs / 1e9:>9.3f} {share:>6.1f}% {group.bytes / 1e6:>10.1f}"
        text.append(f"    {group.operator:<24} {group.precision:<9} {figures}")
    text.append(f"    {'layer':<40} {'operator':<14} {'precision':<9} {'GMAC':>9}  output")
    for layer in cost.layers:
        name = layer.name if len(layer.name) <= 40 else f"…{layer.name[-39:]}"
        shape = "x".join(map(str, layer.shape))
        text.append(f"    {name:<40} {layer.operator[:14]:<14} {layer.precision:<9} {layer.macs / 1e9:>9.3f}  {shape}")
    return text


def _engine(facts: EngineFacts) -> list[str]:
    record = facts.record
    if record is None:
        return _aligned([("engine", facts.path), ("state", facts.state)])
    key = record.key
    rows = [
        ("engine", facts.path),
        ("for", facts.summary or ""),
        ("state", f"{facts.state}; {record.status}"),
        ("size", f"{_size(facts.bytes)}, built {record.created}"),
        ("profile", f"images {key.profile}, batch {key.batch}, optimization level {key.optimization_level}"),
        *([("options", ", ".join(key.flags))] if key.flags else []),
        *(("from, SHA-256", f"{name} {digest}") for name, digest in key.onnx.items()),
        *map(_note, record.notes),
        *((f"fp32 in {name}", ", ".join(kept)) for name, kept in record.kept_in_fp32.items() if kept),
        *((name, f"{value:.1f} ms") for name, value in record.latency_ms.items()),
    ]
    if record.gate:
        gate = record.gate
        rows.append(("gate", f"{gate.psnr:.1f} dB over the loop, {gate.least:g} dB needed, {', '.join(gate.photos)}"))
    for name, network in record.networks.items():
        size = _size(record.files[network.file].size)
        rows.append((network.file, f"{size}, built from {name} in {network.seconds:.1f} s"))
        for tensor, info in network.tensors.items():
            shape = info.get("shape") or f"{info.get('min')} {info.get('opt')} {info.get('max')}"
            rows.append((f"  {info.get('kind', '')}", f"{tensor} {str(info.get('dtype', '')).lower()} {shape}"))
    text = _aligned([(f"  {label}", value) for label, value in rows])
    for name, cost in facts.costs.items():
        text += [f"  {name}", *_cost(cost)]
    for name, layers in facts.fused.items():
        text.append(f"  {name}: {len(layers)} layers on this GPU, after all fusion")
        text += [f"    {layer.get('LayerType', ''):<20} {layer['Name']}" for layer in layers]
    if facts.verification:
        old = " (OLD: it has been built again since)" if facts.outdated else ""
        return text + [f"  {line}" for line in table(f"accuracy{old}", facts.verification)]
    return [*text, "  accuracy: not compared with the portable ONNX yet (shadowdiffusion export verify)"]


def _note(note: Note) -> Row:
    cost = "" if note.psnr is None else f"; costs: {note.psnr:.1f} dB against results without it"
    return note.exactness, f"{note.name}: {note.detail}{cost}"


def _aligned(rows: Iterable[Row]) -> list[str]:
    """Labels in a column; long texts go on below themselves."""
    text = list[str]()
    for label, value in rows:
        parts = textwrap.wrap(value, COLUMNS - LABEL - 1, break_long_words=False, break_on_hyphens=False) or [""]
        head = [f"{label:<{LABEL}} {parts[0]}"] if len(label) <= LABEL else [label, f"{'':<{LABEL}} {parts[0]}"]
        text += [*head, *(f"{'':<{LABEL}} {part}" for part in parts[1:])]
    return text


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
