"""The denoiser in 8 bits, its ranges calibrated on real trajectories of the sampler.

Only the denoiser: it runs at every step. The prior runs once per photo, its error goes straight into the illumination,
and its integer form measured no faster on a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shadowdiffusion.export.commands.console import Bar, Progress, Report
from shadowdiffusion.export.precision.gate import Candidate, Judge, all_layers
from shadowdiffusion.export.precision.networks import SessionNetworks
from shadowdiffusion.export.precision.quantize import Scheme, convolutions, quantized_graph, tensors
from shadowdiffusion.export.precision.ranges import METHODS, Method, Range, clipped, histograms
from shadowdiffusion.export.precision.trajectories import trajectories
from shadowdiffusion.runtime.bundle.folder import DENOISER

if TYPE_CHECKING:
    from onnx import ModelProto


def quantized(
    label: str,
    singles: Mapping[str, ModelProto],
    base: Mapping[str, ModelProto],
    scheme: Scheme,
    judge: Judge,
    report: Report,
    bar: Bar,
) -> tuple[Candidate, Method]:
    """The networks of `base` with the denoiser in 8 bits, and how its ranges were chosen: by the noise it predicts.

    singles: the float32 graphs. base: these, or their mixed graphs, which then run between the convolutions.
    """
    report(f"{label}: calibrating on {len(judge.loops)} trajectories of {judge.sampling.default_steps} steps")
    single = singles[DENOISER]
    with bar("calibrating") as progress:
        networks = SessionNetworks(judge.sessions, judge.rows, record=[])
        # other noise than the gate's: ranges that fit only what they were taken from would show
        loops = [loop._replace(seed=loop.seed + len(judge.loops)) for loop in judge.loops]
        feeds = trajectories(networks, judge.bundle, loops, progress)[DENOISER]
        seen = histograms(single, feeds, tensors(single, scheme.outputs), progress)

    def candidate(ranges: Mapping[str, Range]) -> Candidate:
        def make(network: str, keep: frozenset[str]) -> ModelProto:
            if network != DENOISER:
                return base[network]
            return quantized_graph(base[network], single, ranges, scheme, keep)

        return Candidate(label, layers, make, simulated=base is not singles)

    chosen = set(convolutions(single))
    layers = [layer for layer in all_layers(singles) if layer.network == DENOISER and layer.name in chosen]
    tried = {method: candidate({name: clipped(seen[name], method) for name in seen}) for method in METHODS}
    with bar("choosing the ranges") as progress:
        scores = {method: _score(judge, each, progress) for method, each in tried.items()}
    best = max(METHODS, key=lambda method: scores[method])
    listed = ", ".join(f"{method}: noise {value:.1f} dB" for method, value in scores.items())
    report(f"{label}: ranges by {best} ({listed})")
    return tried[best], best


def _score(judge: Judge, candidate: Candidate, progress: Progress) -> float:
    """Signal-to-noise ratio in dB of the noise with every layer in 8 bits, at the worst step."""
    graph = candidate.make(DENOISER, frozenset())
    return judge.score({DENOISER: candidate.session(graph)}, progress).noise
