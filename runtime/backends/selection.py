"""Which networks restore the photos: the fastest engine that fits this machine and has proved right, or ONNX Runtime.

In order: engines of TensorRT, TensorRT for RTX, our CPU kernels and ONNX Runtime, then the portable networks on CUDA,
then on the CPU.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

from runtime.bundle.folder import Bundle, ModelInfo
from runtime.engines.engine_networks import open_loop, whole_loop
from runtime.engines.profile import WithinProfile, covers_photos
from runtime.engines.store import (
    TITLES,
    BackendName,
    Device,
    EngineKey,
    Precision,
    StoredEngine,
    engine_damage,
    engine_folders,
    engine_stores,
    read_engine,
)
from runtime.errors import BundleError, RestoreError
from runtime.loop.host_loop import HostLoop
from runtime.loop.loop import Loop

if TYPE_CHECKING:
    from runtime.engines.fit import Machine
    from runtime.engines.golden_check import Verdict

Backend = Literal["auto", "portable", "onnxruntime", "cpu-kernels", "tensorrt", "tensorrt-rtx"]
Say = Callable[[str], None]

ORDER: tuple[BackendName, ...] = get_args(BackendName)
ANY_SIZE: tuple[BackendName, ...] = ("cpu-kernels", "onnxruntime")
"""Their engines take images outside of their profile, too."""
FASTEST: tuple[Precision, ...] = ("fp8", "int8", "fp16", "bf16", "fp32")


def to_stderr(line: str) -> None:
    """Print a line on stderr."""
    print(line, file=sys.stderr)


def choose(
    bundle: Bundle,
    backend: Backend = "auto",
    device: Device = "auto",
    threads: int | None = None,
    say: Say = to_stderr,
) -> Loop:
    """The loop to use.

    backend: "auto" for the best that works, "portable" for the bundle's own graphs, run by ONNX Runtime, or one whose
    engines are to be used, which for "onnxruntime" includes the portable graphs where no engine fits. device: "cpu",
    "cuda", or "auto" for a GPU where it can be used. `say` hears why stored engines are passed over. An engine that is
    new to this machine is checked first, which takes seconds once. Raises RestoreError if what was asked for cannot be
    had, with the reasons.
    """
    for name, value, known in (("backend", backend, get_args(Backend)), ("device", device, get_args(Device))):
        if value not in known:
            raise RestoreError(f"{name} {value!r} is unknown: choose one of {', '.join(known)}")
    if backend == "portable":
        return _portable(bundle, device, threads, say)
    backends = tuple(name for name in ORDER if backend in ("auto", name))
    falls_back = "onnxruntime" in backends
    if device == "cpu" and not falls_back and backend != "cpu-kernels":
        raise RestoreError(f"{TITLES[backends[0]]} runs on a GPU only: choose another backend, or device cuda")
    if device == "cuda" and backend == "cpu-kernels":
        raise RestoreError(f"{TITLES[backend]} run on the CPU only: choose another backend, or device cpu")
    reasons: list[str] = []
    found = _first_good(bundle, backends, device, threads, say, say if falls_back else reasons.append)
    if found is not None:
        loop, key = found
        if backend != "auto" or key.backend in ANY_SIZE:
            return loop
        return WithinProfile(loop, bundle, key, partial(_portable, bundle, device, threads, say), say)
    if falls_back:
        return _portable(bundle, device, threads, say)
    why = "; ".join(reasons) or f"the bundle has none: python -m export build-engine --backend {backend}"
    raise RestoreError(f"no engine of {TITLES[backends[0]]} can be used: {why}")


def _portable(bundle: Bundle, device: Device, threads: int | None, say: Say) -> Loop:
    """The bundle's own graphs; on the CPU their opening has begun."""
    from runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks

    networks = OnnxRuntimeNetworks(bundle, device, threads)
    if networks.provider == "cuda":
        from runtime.engines.fit import this_machine

        graphics = this_machine().graphics
        if graphics and (loop := whole_loop(bundle, None, graphics, threads, say)):
            return loop
    networks.prefetch()
    return HostLoop(bundle, networks)


def _first_good(
    bundle: Bundle,
    backends: tuple[BackendName, ...],
    device: Device,
    threads: int | None,
    say: Say,
    passed_over: Say,
) -> tuple[Loop, EngineKey] | None:
    """The best engine of these backends for that device that fits, is whole, and passes the golden check."""
    folders = engine_folders(*engine_stores(bundle))
    if not folders:
        return None
    from runtime.engines.fit import this_machine

    machine, fitting, unfit = this_machine(), list[StoredEngine](), dict[str, list[str]]()
    for folder in folders:
        try:
            engine = read_engine(folder)
        except BundleError as error:
            unfit.setdefault(str(error), []).append(folder.name)
            continue
        if engine.record.key.backend in backends and device in ("auto", _device(engine.record.key)):
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
                key = engine.record.key
                return open_loop(bundle, engine, machine.device(key) or "", threads, say), key
            advice = "python -m export build-engine builds it again"
            passed_over(f"engine {engine.name} is quarantined, the next in line is used: {failure} ({advice})")
        except RestoreError as error:
            passed_over(f"engine {engine.name} is passed over: {error}")
    return None


def _device(key: EngineKey) -> Device:
    return "cpu" if key.provider == "cpu" else "cuda"


def misfit(key: EngineKey, bundle: Bundle, machine: "Machine") -> str | None:
    """Why an engine is not for this machine, or None."""
    from runtime.engines.fit import misfits

    if machine.device(key) is None:
        return "no GPU is found"
    if machine.version(key.backend) is None:
        return f"{TITLES[key.backend]} is not installed"
    return "; ".join(misfits(key, bundle, machine)) or None


def _verdict(bundle: Bundle, engine: StoredEngine, machine: "Machine", threads: int | None, say: Say) -> "Verdict":
    """What the golden check finds, or found before."""
    from runtime.engines.golden_check import known_verdict, verdict_of

    device = machine.device(engine.record.key) or ""
    if known_verdict(engine, device) is None:
        say(f"checking engine {engine.name}, which is new to this machine")
    return verdict_of(bundle, engine, device, threads)


def _rank(engine: StoredEngine, model: ModelInfo) -> tuple[bool, int, float, int, str]:
    """Smaller is better: sizes that are covered (some take any), backend, measured time, precision."""
    key, latency = engine.record.key, engine.record.latency_ms
    narrow = key.backend not in ANY_SIZE and not covers_photos(key, model.working_size, model.multiple)
    time = sum(latency.values()) or float("inf")
    return narrow, ORDER.index(key.backend), time, FASTEST.index(key.precision), engine.name
