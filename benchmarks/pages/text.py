"""Figures as readers see them, and the runs that they come from."""

from __future__ import annotations

from shadowdiffusion.benchmarks.measurement.distribution import Ratio
from shadowdiffusion.benchmarks.measurement.machine import Header
from shadowdiffusion.benchmarks.models.subject import RANDOM, ModelFacts

NOTHING = "–"


def ms(value: float) -> str:
    """Milliseconds to three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def interval(ratio: Ratio | None) -> str:
    """1.50 (1.44–1.61)."""
    return NOTHING if ratio is None else f"{ratio.value:.2f} ({ratio.low:.2f}–{ratio.high:.2f})"


def decibels(value: float | None) -> str:
    """120.3, or "equal" where nothing differs."""
    if value is None:
        return NOTHING
    return "equal" if value >= 200 else f"{value:.1f}"


def device(header: Header) -> str:
    """Name of the GPU, or of the CPU with its cores."""
    machine = header.machine
    return machine.gpu.name if machine.gpu else f"{machine.cpu}, {machine.cores} cores"


def model(facts: ModelFacts) -> str:
    """What the networks are."""
    prior = "" if facts.prior_parameters is None else f" + {facts.prior_parameters / 1e6:.1f} M"
    weights = "random weights" if facts.weights == RANDOM else "trained weights"
    return f"{facts.name}: {facts.denoiser_parameters / 1e6:.1f} M{prior} parameters, {weights}"


def run(header: Header) -> str:
    """One line of the list of runs."""
    versions, state = header.machine.versions, header.machine.gpu.state if header.machine.gpu else None
    known = ("python", "torch", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "diffusers")
    facts = [
        *(f"{name} {versions[name]}" for name in known if name in versions),
        f"driver {state.driver}" if state and state.driver else None,
        f"{state.sm_clock} MHz and {state.temperature} °C at the start" if state and state.sm_clock else None,
        f"commit {header.commit[:10]}{' with changes' if header.dirty else ''}" if header.commit else None,
        f"sources {header.sources[:10]}",
    ]
    return f"{header.started}: {', '.join(fact for fact in facts if fact)}; `{header.command}`"
