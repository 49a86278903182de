"""The accuracy gate: graphs in lower precision pass if the whole loop stays near that of the float32 graphs.

What is compared is the restored image of photos, with their mask and, given a prior, without one. Then the matte that
the prior finds is compared as well, and both loops go on with the same: the mask is a threshold of it, where the least
rounding may flip a pixel. Where the worst falls short, layers go back to float32, those first that alone cost most in
the loop, and as few as are enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from export.console import Bar, Progress, Report
from export.errors import ExportError
from export.photos import Sample
from export.precision.mixed import LAYERS
from export.precision.networks import Array, NotFinite, SessionNetworks, session
from export.precision.simulate import simulated
from export.precision.trajectories import fewer_steps, loops_of, restore
from export.verify import psnr
from runtime.bundle.folder import Bundle, Sampling

if TYPE_CHECKING:
    from onnx import ModelProto

GATES = {"fp16": 50.0, "bf16": 40.0, "int8": 40.0, "fp8": 40.0}
"""PSNR in dB of the restored working image against the float32 graphs, by precision, that the gate asks for."""
PROBE_STEPS = 5
"""Most steps of the loops that measure single layers."""


class Layer(NamedTuple):
    """A convolution or product: the file of its network, the name of its node, and of its weights if it has any."""

    network: str
    name: str
    weights: str = ""

    def __str__(self) -> str:
        return f"{self.weights.removesuffix('.weight') or self.name} of {self.network}"


class Score(NamedTuple):
    """Worst PSNR in dB over some loops, -infinity if anything is not finite."""

    image: float
    """Of restored images, and of mattes that the prior found."""
    mask: float
    """Of the masks that the denoiser refined: for information, since the denoiser was trained for its noise."""


class Judge:
    """The loops on some photos with float32 graphs, and what other graphs are worth against them.

    sessions: of the float32 graphs, by file name. sampling: None takes the bundle's.
    """

    def __init__(
        self,
        bundle: Bundle,
        sessions: Mapping[str, Any],
        rows: Array | None,
        samples: Sequence[Sample],
        sampling: Sampling | None = None,
    ) -> None:
        self.bundle, self.sessions, self.rows, self.samples = bundle, sessions, rows, samples
        self.sampling = sampling or bundle.manifest.sampling
        self.loops = loops_of(samples, bundle)
        try:
            networks = SessionNetworks(self.sessions, rows)
            self.truth = [restore(networks, bundle, loop, self.sampling) for loop in self.loops]
        except NotFinite as error:
            raise ExportError(f"{error} returns values that are not finite in float32: it is damaged") from error

    def score(self, sessions: Mapping[str, Any], progress: Progress = lambda fraction, phase: None) -> Score:
        """The loops with these sessions; networks that have none run in float32."""
        networks, worst = SessionNetworks({**self.sessions, **sessions}, self.rows), Score(math.inf, math.inf)
        try:
            for index, (loop, truth) in enumerate(zip(self.loops, self.truth, strict=True)):
                progress(index / len(self.loops), loop.sample.name)
                found = restore(networks, self.bundle, loop, self.sampling, truth.matte)
                image, matte, mask = (psnr(*pair) for pair in zip(found, truth, strict=True))
                worst = Score(min(worst.image, image, matte), min(worst.mask, mask))
        except NotFinite:
            return Score(-math.inf, -math.inf)
        return worst


@dataclass(frozen=True)
class Candidate:
    """Graphs in some precision: `make(network, keep)` gives one with the layers `keep` left as they were.

    label: the precision, for people. layers: those that have a choice. simulated: whether the graphs have to be
    simulated, because the CPU cannot round as they say.
    """

    label: str
    layers: Sequence[Layer]
    make: Callable[[str, frozenset[str]], ModelProto]
    simulated: bool

    def graphs(self, networks: Sequence[str], kept: frozenset[Layer]) -> dict[str, ModelProto]:
        """One graph for every network, by file name."""
        return {
            network: self.make(network, frozenset(layer.name for layer in kept if layer.network == network))
            for network in networks
        }

    def session(self, graph: ModelProto) -> Any:
        """What runs one of the graphs on the CPU."""
        return session(simulated(graph), optimized=False) if self.simulated else session(graph)


@dataclass(frozen=True)
class Passed:
    """Graphs that pass the gate, the layers put back for that, largest contribution first, and the score."""

    graphs: dict[str, ModelProto]
    kept: list[Layer]
    score: Score


def all_layers(singles: Mapping[str, ModelProto]) -> list[Layer]:
    """Every layer of the networks, in running order."""
    found = []
    for network, graph in singles.items():
        constants = {tensor.name for tensor in graph.graph.initializer}
        nodes = (node for node in graph.graph.node if node.op_type in LAYERS)
        found += [Layer(network, n.name, next((name for name in n.input if name in constants), "")) for n in nodes]
    return found


def pass_gate(candidate: Candidate, judge: Judge, probe: Sample, least: float, report: Report, bar: Bar) -> Passed:
    """The candidate with as few layers put back as the gate of `least` dB needs.

    probe: a small photo on which single layers are measured. Raises ExportError if leaving no layer but one in lower
    precision is not enough.
    """
    networks, label = list(judge.sessions), candidate.label

    def attempt(kept: Sequence[Layer]) -> Passed:
        graphs = candidate.graphs(networks, frozenset(kept))
        with bar(f"{label}: the whole loop") as progress:
            sessions = {name: candidate.session(graph) for name, graph in graphs.items()}
            return Passed(graphs, list(kept), judge.score(sessions, progress))

    report(f"{label}: running the whole loop on {', '.join(sample.name for sample in judge.samples)}")
    best = attempt(())
    report(f"{label}: the result reaches {_decibel(best.score.image)}, {least:g} dB are needed")
    if best.score.image >= least:
        return best
    order = _by_contribution(candidate, judge, probe, report, bar)
    # the fewest layers, taken in this order, that are enough: double until they are, then halve the doubt
    hopeless, most = sum(alone == -math.inf for _, alone in order), len(order) - 1
    found, too_few, count, enough = best, max(0, hopeless - 1), min(max(1, hopeless), most), most + 1
    while enough - too_few > 1:
        found = attempt([layer for layer, _ in order[:count]])
        report(f"{label}: with {count} of {len(order)} layers put back, {_decibel(found.score.image)}")
        if found.score.image >= least:
            enough, best = count, found
        else:
            too_few = count
        count = min(2 * count, most) if enough > most else (too_few + enough) // 2
    if enough > most:
        reached = f"the loop reaches {_decibel(found.score.image)} with all layers but one put back"
        raise ExportError(f"{label} costs too much: {reached}, {least:g} dB are needed: use --precision fp32")
    alone = dict(order)
    listed = ", ".join(f"{layer} ({_decibel(alone[layer])} alone)" for layer in best.kept)
    report(f"{label}: put back: {listed}")
    return best


def _by_contribution(
    candidate: Candidate, judge: Judge, probe: Sample, report: Report, bar: Bar
) -> list[tuple[Layer, float]]:
    """Every layer with the PSNR of the loop in which it alone is in lower precision, the worst first."""
    bundle, layers, found = judge.bundle, candidate.layers, list[tuple[Layer, float]]()
    measure = Judge(bundle, judge.sessions, judge.rows, [probe], fewer_steps(bundle.manifest.sampling, PROBE_STEPS))
    report(f"{candidate.label}: measuring what each of {len(layers)} layers contributes alone")
    with bar(f"measuring {len(layers)} layers") as progress:
        for index, layer in enumerate(layers):
            progress(index / len(layers), layer.name)
            others = frozenset(other.name for other in layers if other.network == layer.network) - {layer.name}
            alone = candidate.session(candidate.make(layer.network, others))
            found.append((layer, measure.score({layer.network: alone}).image))
    return sorted(found, key=lambda item: item[1])


def _decibel(value: float) -> str:
    return f"{value:.1f} dB" if math.isfinite(value) else "values that are not finite"
