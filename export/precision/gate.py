"""The accuracy gate: graphs in lower precision pass if the whole loop stays near that of the float32 graphs.

What is compared is the restored image of photos, with their mask and, given a prior, without one, and every output of
every network at every step: the prior update may hide the errors of the denoiser. A blind loop goes on with the matte
of float32: the mask is a threshold of it, where the least rounding may flip a pixel. Where a figure falls short of
`runtime.selection.tolerances`, layers go back to float32, those first that alone cost most, and as few as are enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from shadowdiffusion.export.commands.console import Bar, Progress, Report
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.photos import Sample
from shadowdiffusion.export.precision.mixed import LAYERS
from shadowdiffusion.export.precision.networks import Array, NotFinite, SessionNetworks, session
from shadowdiffusion.export.precision.simulate import simulated
from shadowdiffusion.export.precision.trajectories import fewer_steps, loops_of, restore
from shadowdiffusion.export.verify import MOST_DB, psnr
from shadowdiffusion.runtime.bundle.folder import Bundle, Sampling
from shadowdiffusion.runtime.selection.tolerances import Decibels, agreement, kind_of, network_outputs

if TYPE_CHECKING:
    from onnx import ModelProto

PROBE_STEPS = 5
"""Most steps of the loops that measure single layers."""


class Layer(NamedTuple):
    """A convolution or product: the file of its network, the name of its node, and of its weights if it has any."""

    network: str
    name: str
    weights: str = ""

    def __str__(self) -> str:
        return f"{self.weights.removesuffix('.weight') or self.name} of {self.network}"


FAILED = Decibels(*[-math.inf] * len(Decibels._fields))
"""Of networks that return anything that is not finite."""


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
            self.clean = [networks.prior(s.image, s.mask)[0] if bundle.has_prior else None for s in samples]
            self.outputs = [self._outputs(networks, index) for index in range(len(samples))]
        except NotFinite as error:
            raise ExportError(f"{error} returns values that are not finite in float32: it is damaged") from error

    def score(self, sessions: Mapping[str, Any], progress: Progress = lambda fraction, phase: None) -> Decibels:
        """The worst agreement with these sessions; networks that have none run in float32."""
        networks, worst = (
            SessionNetworks({**self.sessions, **sessions}, self.rows),
            dict.fromkeys(Decibels._fields, MOST_DB),
        )

        def note(kind: str, value: float) -> None:
            worst[kind] = min(worst[kind], value)

        try:
            for index, truths in enumerate(self.outputs):
                for (name, output), (_, truth) in zip(self._outputs(networks, index), truths, strict=True):
                    note(kind_of(name), agreement(name, output, truth))
            for index, (loop, restored) in enumerate(zip(self.loops, self.truth, strict=True)):
                progress(index / len(self.loops), loop.sample.name)
                found = restore(networks, self.bundle, loop, self.sampling, restored.matte)
                for kind, pair in zip(("image", "matte", "mask"), zip(found, restored, strict=True), strict=True):
                    note(kind, psnr(*pair))
        except NotFinite:
            return FAILED
        return Decibels(**worst)

    def _outputs(self, networks: SessionNetworks, index: int) -> list[tuple[str, Array]]:
        """Every output of every network for one of the samples, at all steps of the loop."""
        sample, table = self.samples[index], self.sampling.tables[str(self.sampling.default_steps)]
        return network_outputs(networks, sample.image, sample.mask, self.clean[index], table, index)


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
    score: Decibels


def all_layers(singles: Mapping[str, ModelProto]) -> list[Layer]:
    """Every layer of the networks, in running order."""
    found = []
    for network, graph in singles.items():
        constants = {tensor.name for tensor in graph.graph.initializer}
        nodes = (node for node in graph.graph.node if node.op_type in LAYERS)
        found += [Layer(network, n.name, next((name for name in n.input if name in constants), "")) for n in nodes]
    return found


def pass_gate(candidate: Candidate, judge: Judge, probe: Sample, needed: Decibels, report: Report, bar: Bar) -> Passed:
    """The candidate with as few layers put back as are needed.

    probe: a small photo on which single layers are measured. Raises ExportError if leaving no layer but one in lower
    precision is not enough.
    """
    networks, label = list(judge.sessions), candidate.label

    def attempt(kept: Sequence[Layer]) -> Passed:
        graphs = candidate.graphs(networks, frozenset(kept))
        with bar(f"{label}: the whole loop") as progress:
            sessions = {name: candidate.session(graph) for name, graph in graphs.items()}
            return Passed(graphs, list(kept), judge.score(sessions, progress))

    def passes(found: Passed) -> bool:
        return found.score.shortfall(needed) <= 0

    report(f"{label}: running the networks and the whole loop on {', '.join(sample.name for sample in judge.samples)}")
    best = attempt(())
    report(f"{label}: {_reached(best.score, needed)}")
    if passes(best):
        return best
    order = _by_contribution(candidate, judge, probe, needed, report, bar)
    # the fewest layers, taken in this order, that are enough: double until they are, then halve the doubt
    hopeless, most = sum(alone == FAILED for _, alone in order), len(order) - 1
    found, too_few, count, enough = best, max(0, hopeless - 1), min(max(1, hopeless), most), most + 1
    while enough - too_few > 1:
        found = attempt([layer for layer, _ in order[:count]])
        report(f"{label}: with {count} of {len(order)} layers put back, {_reached(found.score, needed)}")
        if passes(found):
            enough, best = count, found
        else:
            too_few = count
        count = min(2 * count, most) if enough > most else (too_few + enough) // 2
    if enough > most:
        reached = f"with all layers but one put back, {_reached(found.score, needed)}"
        raise ExportError(f"{label} costs too much: {reached}: use --precision fp32")
    alone = dict(order)
    listed = ", ".join(f"{layer} ({_alone(alone[layer], needed)})" for layer in best.kept)
    report(f"{label}: put back: {listed}")
    return best


def _by_contribution(
    candidate: Candidate, judge: Judge, probe: Sample, needed: Decibels, report: Report, bar: Bar
) -> list[tuple[Layer, Decibels]]:
    """Every layer with what is reached where it alone is in lower precision, the worst first."""
    bundle, layers, found = judge.bundle, candidate.layers, list[tuple[Layer, Decibels]]()
    measure = Judge(bundle, judge.sessions, judge.rows, [probe], fewer_steps(bundle.manifest.sampling, PROBE_STEPS))
    report(f"{candidate.label}: measuring what each of {len(layers)} layers contributes alone")
    with bar(f"measuring {len(layers)} layers") as progress:
        for index, layer in enumerate(layers):
            progress(index / len(layers), layer.name)
            others = frozenset(other.name for other in layers if other.network == layer.network) - {layer.name}
            alone = candidate.session(candidate.make(layer.network, others))
            found.append((layer, measure.score({layer.network: alone})))
    return sorted(found, key=lambda item: -item[1].shortfall(needed))


def _reached(score: Decibels, needed: Decibels) -> str:
    """What was reached and what is needed, for people."""
    if score == FAILED:
        return "values that are not finite"
    figures = (f"{name} {found:.1f}" for name, found in score._asdict().items())
    missed = score.missed(needed)
    return f"{', '.join(figures)} dB" + (f"; too little: {', '.join(missed)}" if missed else "")


def _alone(score: Decibels, needed: Decibels) -> str:
    """What a layer alone misses, or comes nearest to missing."""
    if score == FAILED:
        return "values that are not finite alone"
    name = min(score._fields, key=lambda name: getattr(score, name) - getattr(needed, name))
    return f"{name} {getattr(score, name):.1f} dB alone"
