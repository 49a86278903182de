"""The graph and the session settings that ONNX Runtime runs fastest here, found by measuring every candidate.

A pass is kept only if its graph computes the same and is faster beyond the noise; two that exclude each other compete.
The same holds for fewer threads, threads that sleep instead of spinning, and the options of CUDA.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shadowdiffusion.export.commands.console import Bar, Report
from shadowdiffusion.export.engines.race import faster, milliseconds, race, ratio, steady
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes.catalog import Pass
from shadowdiffusion.runtime.backends.onnxruntime_networks import open_session
from shadowdiffusion.runtime.bundle.engines import Provider, SessionSettings
from shadowdiffusion.runtime.bundle.folder import Note

if TYPE_CHECKING:
    from onnx import ModelProto

Feed = dict[str, npt.NDArray[np.float32]]

TOLERANCE = 1e-5
"""Relative L2 difference that a changed graph may show in any output: the rounding of float32 leaves about 1e-6."""
SLACK = 1.05
"""A graph in lower precision rounds elsewhere once it is changed: its error may become this many times what it was."""


@dataclass(frozen=True)
class Course:
    """What a network is measured on.

    truth: the float32 graph. watched: the outputs to time. best: inputs at the size to be fast at. checks: inputs to
    compare on.
    """

    network: str
    truth: ModelProto
    watched: list[str]
    best: Feed
    checks: Sequence[Feed]


@dataclass(frozen=True)
class Tuned:
    """The chosen graph, a note for every pass that it went through, and whether all times were steady."""

    model: ModelProto
    notes: list[Note]
    steady: bool


@dataclass(frozen=True)
class Chosen:
    """The chosen settings, and whether the times were steady."""

    settings: SessionSettings
    steady: bool


def choose_settings(
    model: ModelProto, course: Course, provider: Provider, threads: int | None, report: Report, bar: Bar
) -> Chosen:
    """The settings with which `model` runs fastest; `threads` are kept if given."""
    most = threads or _cores()
    base = SessionSettings(most, spinning=True, provider_options=_cuda_options() if provider == "cuda" else {})
    candidates = {"as usual": base}
    if provider == "cuda":
        options = base.provider_options | {"prefer_nhwc": "1"}
        candidates["channels last"] = SessionSettings(most, True, options)
    elif most > 1:
        candidates["sleeping threads"] = SessionSettings(most, False, {})
        if threads is None:
            candidates[f"{most // 2} threads"] = SessionSettings(most // 2, True, {})
    runs = {name: _runner(model, course, provider, settings) for name, settings in candidates.items()}
    with bar("session settings") as progress:
        taken = race(runs, progress)
    times = ", ".join(f"{name} {milliseconds(seconds):g} ms" for name, seconds in taken.items())
    chosen = _winner(taken, "as usual")
    report(f"{course.network} with {most} threads: {times}: {chosen}")
    return Chosen(candidates[chosen], steady(taken))


def tune(
    model: ModelProto,
    course: Course,
    passes: Sequence[Pass],
    switches: Mapping[str, bool],
    provider: Provider,
    settings: SessionSettings,
    report: Report,
    bar: Bar,
) -> Tuned:
    """Apply to `model` the passes that pay, or that `switches` force on, less those that it forces off.

    Raises ExportError for a forced pass that changes the results.
    """
    judge = _Judge(model, course, provider, settings)
    notes, undisturbed = list[Note](), True
    forced = [item for item in passes if switches.get(item.name)]
    open_passes = [item for item in passes if item.name not in switches]
    for item in forced:
        changed = _applied(item, model)
        if changed is None:
            continue
        verdict = judge(changed)
        if not verdict.passed:
            raise ExportError(f"{item.name} is wrong for {course.network}: {verdict.text}; leave out --with")
        model = changed
        notes.append(Note(item.name, item.exactness, f"{course.network}: asked for, {verdict.text}"))
    while candidates := _candidates(open_passes, model):
        verdicts = {name: judge(changed) for name, changed in candidates.items()}
        for name, verdict in verdicts.items():
            if not verdict.passed:
                report(f"{name} is refused for {course.network}: {verdict.text}")
                del candidates[name]
        open_passes = [item for item in open_passes if item.name in candidates]
        if not candidates:
            break
        runs = {name: _runner(changed, course, provider, settings) for name, changed in candidates.items()}
        with bar(f"passes of {course.network}") as progress:
            taken = race({"": _runner(model, course, provider, settings)} | runs, progress)
        undisturbed = undisturbed and steady(taken)
        for name in runs:
            report(f"{course.network} with {name}: {ratio(taken[name], taken['']):.3f} of the time")
        chosen = _winner(taken, "")
        if not chosen:
            break
        times = f"{milliseconds(taken[chosen]):g} ms against {milliseconds(taken['']):g} ms"
        detail = f"{course.network}: {ratio(taken[chosen], taken['']):.3f} of the time ({times})"
        (item,) = (item for item in open_passes if item.name == chosen)
        model = candidates[chosen]
        notes.append(Note(item.name, item.exactness, f"{detail}, {verdicts[chosen].text}"))
        open_passes.remove(item)
    return Tuned(model, notes, undisturbed)


@dataclass(frozen=True)
class _Verdict:
    """Whether a graph computes what it should; text: how far off it is."""

    passed: bool
    text: str


class _Judge:
    """Compares changed graphs with the untouched one, by what both differ from the float32 graph."""

    def __init__(self, model: ModelProto, course: Course, provider: Provider, settings: SessionSettings) -> None:
        self._checks, self._open = course.checks, partial(_open, provider=provider, settings=settings)
        self._truth = self._outputs(course.truth)
        self._limits = [max(TOLERANCE, SLACK * error) for error in self._errors(model)]

    def __call__(self, changed: ModelProto) -> _Verdict:
        try:
            errors = self._errors(changed)
        except Exception as error:  # ONNX Runtime has no common base for its own exceptions
            return _Verdict(False, f"ONNX Runtime cannot run it ({' '.join(str(error).split())[:200]})")
        pairs = list(zip(errors, self._limits, strict=True))
        passed = all(error <= limit for error, limit in pairs)  # NaN is no pass
        most, limit = max(pairs, key=lambda pair: pair[0] / pair[1] if np.isfinite(pair[0]) else np.inf)
        over = "" if passed else f", at most {limit:.1e} is allowed"
        return _Verdict(passed, f"relative difference from float32 {most:.1e}{over}")

    def _errors(self, model: ModelProto) -> list[float]:
        pairs = zip(self._outputs(model), self._truth, strict=True)
        return [float(np.linalg.norm(found - truth) / np.linalg.norm(truth)) for found, truth in pairs]

    def _outputs(self, model: ModelProto) -> list[npt.NDArray[np.float32]]:
        session = self._open(model)
        return [output for feed in self._checks for output in session.run(None, feed)]


def _candidates(passes: Sequence[Pass], model: ModelProto) -> dict[str, ModelProto]:
    """The graph after each of the passes that find something to change in it."""
    changed = {item.name: _applied(item, model) for item in passes}
    return {name: graph for name, graph in changed.items() if graph is not None}


def _applied(item: Pass, model: ModelProto) -> ModelProto | None:
    if item.apply is None:
        raise ExportError(f"{item.name} is no pass for engines")
    changed = item.apply(model)
    before, after = ([node.SerializeToString() for node in graph.graph.node] for graph in (model, changed))
    return None if before == after else changed


def _winner(taken: Mapping[str, list[float]], base: str) -> str:
    """The variant that is worth having and takes the smallest part of the time of `base`, else `base`."""
    parts = {name: ratio(times, taken[base]) for name, times in taken.items() if faster(times, taken[base])}
    return min(parts, key=lambda name: parts[name], default=base)


def _runner(model: ModelProto, course: Course, provider: Provider, settings: SessionSettings) -> partial[Any]:
    return partial(_open(model, provider, settings).run, course.watched, course.best)


def _open(model: ModelProto, provider: Provider, settings: SessionSettings) -> Any:
    session = open_session(model.SerializeToString(), provider, settings)
    if provider == "cuda" and "CUDAExecutionProvider" not in session.get_providers():  # it falls back silently
        raise ExportError("ONNX Runtime could not start CUDA: check the driver, or use --provider cpu")
    return session


def _cores() -> int:
    """The logical cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cuda_options() -> dict[str, str]:
    """What suits a network of convolutions at a few sizes; TF32 would break the promise of float32."""
    return {"cudnn_conv_algo_search": "EXHAUSTIVE", "use_tf32": "0"}
