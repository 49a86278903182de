"""Which networks restore the photos: the fastest engine that fits this machine and has proved right, or ONNX Runtime.

In order: engines of TensorRT, TensorRT for RTX and ONNX Runtime, then the portable networks on CUDA, then on the CPU.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

from runtime.bundle import Bundle, ModelInfo
from runtime.engine_networks import open_engine
from runtime.engines import (
    TITLES,
    BackendName,
    EngineKey,
    Precision,
    StoredEngine,
    engine_damage,
    engine_folders,
    engine_stores,
    read_engine,
)
from runtime.errors import BundleError, RestoreError
from runtime.host_loop import HostLoop
from runtime.loop import Loop
from runtime.profile import WithinProfile, covers_photos

if TYPE_CHECKING:
    from runtime.fit import Machine
    from runtime.golden_check import Verdict

Backend = Literal["auto", "cpu", "cuda", "tensorrt", "tensorrt-rtx", "onnxruntime"]
Say = Callable[[str], None]

ORDER: tuple[BackendName, ...] = get_args(BackendName)
FASTEST: tuple[Precision, ...] = ("fp8", "int8", "fp16", "bf16", "fp32")


def to_stderr(line: str) -> None:
    """Print a line on stderr."""
    print(line, file=sys.stderr)


def choose(bundle: Bundle, backend: Backend = "auto", threads: int | None = None, say: Say = to_stderr) -> Loop:
    """The loop to use: "auto" for the best that works, "cpu" or "cuda" for the portable ones, or an engine of the
    backend that is named.

    `say` hears why stored engines are passed over. An engine that is new to this machine is checked first, which
    takes seconds once. Raises RestoreError if what was asked for cannot be had, with the reasons.
    """
    from runtime.onnxruntime_networks import OnnxRuntimeNetworks

    if backend not in get_args(Backend):
        raise RestoreError(f"backend {backend!r} is unknown: choose one of {', '.join(get_args(Backend))}")
    if backend in ("cpu", "cuda"):
        return HostLoop(bundle, OnnxRuntimeNetworks(bundle, backend, threads))
    backends = tuple(name for name in ORDER if backend in ("auto", name))
    reasons: list[str] = []
    found = _first_good(bundle, backends, threads, say, say if backend == "auto" else reasons.append)
    if backend == "auto":

        def portable() -> Loop:
            return HostLoop(bundle, OnnxRuntimeNetworks(bundle, "auto", threads))

        if found is None:
            return portable()
        loop, key = found
        return loop if key.backend == "onnxruntime" else WithinProfile(loop, bundle, key, portable, say)
    if found is None:
        why = "; ".join(reasons) or f"the bundle has none: python -m export build-engine --backend {backend}"
        raise RestoreError(f"no engine of {TITLES[backends[0]]} can be used: {why}")
    return found[0]


def _first_good(
    bundle: Bundle,
    backends: tuple[BackendName, ...],
    threads: int | None,
    say: Say,
    passed_over: Say,
) -> tuple[Loop, EngineKey] | None:
    """The best engine of these backends that fits, is whole, and passes the golden check."""
    folders = engine_folders(*engine_stores(bundle))
    if not folders:
        return None
    from runtime.fit import this_machine

    machine, fitting, unfit = this_machine(), list[StoredEngine](), dict[str, list[str]]()
    for folder in folders:
        try:
            engine = read_engine(folder)
        except BundleError as error:
            unfit.setdefault(str(error), []).append(folder.name)
            continue
        if engine.record.key.backend in backends:
            if why := misfit(engine.record.key, bundle, machine):
                unfit.setdefault(why, []).append(engine.name)
            else:
                fitting.append(engine)
    for why, names in unfit.items():  # a bundle may have engines for many GPUs
        subject, verb = ("engine", "is") if len(names) == 1 else ("engines", "are")
        passed_over(f"{subject} {' and '.join(names)} {verb} passed over: {why}")
    for engine in sorted(fitting, key=partial(_rank, model=bundle.manifest.model)):
        try:
            if problem := engine_damage(engine):
                raise BundleError(problem)
            failure = _verdict(bundle, engine, machine, threads, say).failure
            if failure is None:
                return HostLoop(bundle, open_engine(bundle, engine, threads)), engine.record.key
            advice = "python -m export build-engine builds it again"
            passed_over(f"engine {engine.name} is quarantined, the next in line is used: {failure} ({advice})")
        except RestoreError as error:
            passed_over(f"engine {engine.name} is passed over: {error}")
    return None


def misfit(key: EngineKey, bundle: Bundle, machine: "Machine") -> str | None:
    """Why an engine is not for this machine, or None."""
    from runtime.fit import misfits

    if machine.device(key) is None:
        return "no GPU is found"
    if machine.version(key.backend) is None:
        return f"{TITLES[key.backend]} is not installed"
    return "; ".join(misfits(key, bundle, machine)) or None


def _verdict(bundle: Bundle, engine: StoredEngine, machine: "Machine", threads: int | None, say: Say) -> "Verdict":
    """What the golden check finds, or found before."""
    from runtime.golden_check import known_verdict, verdict_of

    device = machine.device(engine.record.key) or ""
    if known_verdict(engine, device) is None:
        say(f"checking engine {engine.name}, which is new to this machine")
    return verdict_of(bundle, engine, device, threads)


def _rank(engine: StoredEngine, model: ModelInfo) -> tuple[bool, int, float, int, str]:
    """Smaller is better: sizes that are covered (ONNX Runtime takes any), backend, measured time, precision."""
    key, latency = engine.record.key, engine.record.latency_ms
    narrow = key.backend != "onnxruntime" and not covers_photos(key, model.working_size, model.multiple)
    time = sum(latency.values()) or float("inf")
    return narrow, ORDER.index(key.backend), time, FASTEST.index(key.precision), engine.name
