"""Which networks restore the photos: the fastest engine that fits this machine and has proved right, or ONNX Runtime.

In order: on a GPU engines of TensorRT, TensorRT for RTX and ONNX Runtime, then the portable networks on CUDA; on the
CPU engines of our CPU kernels and ONNX Runtime, then the portable networks.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Literal, get_args

from shadowdiffusion.runtime.bundle.engines import (
    TITLES,
    BackendName,
    Device,
    EngineKey,
    EngineRecord,
    Precision,
    Provider,
    StoredEngine,
    device_of,
    engine_damage,
    engine_folders,
    engine_stores,
    read_engine,
)
from shadowdiffusion.runtime.bundle.folder import DENOISER, NETWORKS, Bundle
from shadowdiffusion.runtime.errors import BundleError, RestoreError
from shadowdiffusion.runtime.loop.host_loop import HostLoop
from shadowdiffusion.runtime.loop.loop import Loop
from shadowdiffusion.runtime.selection.engine_networks import open_loop, title, whole_loop
from shadowdiffusion.runtime.selection.profile import WithinProfile, batch_sizes, covers_photos, image_sizes

if TYPE_CHECKING:
    from shadowdiffusion.runtime.selection.fit import Machine
    from shadowdiffusion.runtime.selection.golden_check import Verdict

Backend = Literal["auto", "portable", "onnxruntime", "cpu-kernels", "tensorrt", "tensorrt-rtx"]
Say = Callable[[str], None]

PLACES: tuple[Provider, ...] = ("cuda", "cpu")
"""Where networks run, the better first."""
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
    precision: Precision | None = None,
    engine: str | None = None,
) -> Loop:
    """The loop to use: every way to use a GPU comes before any on the CPU.

    backend: "auto" for the best that works, "portable" for the bundle's own graphs, run by ONNX Runtime, or one whose
    engines are to be used, which for "onnxruntime" includes the portable graphs where no engine fits. device: "cpu",
    "cuda", or "auto" for a GPU where it can be used. precision: of the engine, None for any; the portable graphs have
    fp32. engine: the name of the one to use. `say` hears why stored engines are passed over. An engine that is new to
    this machine is checked first, which takes seconds once. Raises RestoreError if what was asked for cannot be had,
    with the reasons.
    """
    known_values: tuple[tuple[str, object, tuple[object, ...]], ...] = (
        ("backend", backend, get_args(Backend)),
        ("device", device, get_args(Device)),
        ("precision", precision or "fp32", get_args(Precision)),
    )
    for name, value, known in known_values:
        if value not in known:
            raise RestoreError(f"{name} {value!r} is unknown: choose one of {', '.join(map(str, known))}")
    if backend == "portable":
        if engine or precision not in (None, "fp32"):
            asked = f"engine {engine}" if engine else f"precision {precision}"
            raise RestoreError(f"backend portable has no engine, and fp32 only: leave out {asked}, or choose another")
        return _portable(bundle, device, threads, say)
    backends = tuple(name for name in ORDER if backend in ("auto", name))
    if device == "cpu" and "onnxruntime" not in backends and backend != "cpu-kernels":
        raise RestoreError(f"{TITLES[backends[0]]} runs on a GPU only: choose another backend, or device cuda")
    if device == "cuda" and backend == "cpu-kernels":
        raise RestoreError(f"{TITLES[backend]} run on the CPU only: choose another backend, or device cpu")
    falls_back = "onnxruntime" in backends and engine is None and precision in (None, "fp32")
    reasons: list[str] = []
    passed_over = say if falls_back else reasons.append
    ranked = _ranked(bundle, backends, device, precision, engine, passed_over)
    for place in PLACES:
        if device not in ("auto", place):
            continue
        there = [found for found in ranked if device_of(found.record.key) == place]
        found = _first_good(bundle, there, threads, say, passed_over)
        if found is not None:
            loop, key = found
            if backend != "auto" or engine or key.backend in ANY_SIZE:
                return loop
            return WithinProfile(loop, bundle, key, partial(_portable, bundle, device, threads, say), say)
        if falls_back and (portable := _portable_on(place, bundle, device, threads, say)):
            return portable
    asked = f"engine {engine}" if engine else f"engine of {TITLES[backends[0]]}" if backend != "auto" else "engine"
    in_precision = f" in {precision}" if precision and not engine else ""
    hint = "" if backend == "auto" else f" --backend {backend}"
    why = "; ".join(reasons) or f"the bundle has none: shadowdiffusion export build-engine{hint}"
    raise RestoreError(f"no {asked}{in_precision} can be used: {why}")


def _portable(bundle: Bundle, device: Device, threads: int | None, say: Say) -> Loop:
    """The bundle's own graphs on the best device that starts. Raises RestoreError."""
    places = (place for place in PLACES if device in ("auto", place))
    found = (_portable_on(place, bundle, device, threads, say) for place in places)
    return next(loop for loop in found if loop)  # on the CPU there is always one


def _portable_on(place: Provider, bundle: Bundle, device: Device, threads: int | None, say: Say) -> Loop | None:
    """The bundle's own graphs on a device; on the CPU their opening has begun.

    None where CUDA cannot be had, which is a RestoreError where `device` asks for it.
    """
    from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks, has_cuda

    if place == "cpu":
        networks = OnnxRuntimeNetworks(bundle, "cpu", threads)
        networks.prefetch()
        return HostLoop(bundle, networks)
    from shadowdiffusion.runtime.selection.fit import this_machine

    graphics = this_machine().graphics
    if device == "auto" and not (graphics and has_cuda()):
        return None
    try:
        networks = OnnxRuntimeNetworks(bundle, "cuda", threads)
        if graphics and (loop := whole_loop(bundle, None, graphics, threads, say)):
            return loop
        networks.start()
    except RestoreError as error:
        if device == "cuda":
            raise
        say(f"{title(None)} is passed over: {error}")
        return None
    networks.prefetch()
    return HostLoop(bundle, networks)


def _ranked(
    bundle: Bundle,
    backends: tuple[BackendName, ...],
    device: Device,
    precision: Precision | None,
    name: str | None,
    passed_over: Say,
) -> list[StoredEngine]:
    """The engines that were asked for and fit this machine, the best first."""
    folders = engine_folders(*engine_stores(bundle))
    if name is not None:
        known = [folder.name for folder in folders]
        if name not in known:
            listed = ", ".join(known) or "it has none"
            raise RestoreError(f"the bundle has no engine {name}: choose one of its engines ({listed})")
        folders = [folder for folder in folders if folder.name == name]
    if not folders:
        return []
    from shadowdiffusion.runtime.selection.fit import this_machine

    machine, fitting, unfit = this_machine(), list[StoredEngine](), dict[str, list[str]]()
    for folder in folders:
        try:
            engine = read_engine(folder)
        except BundleError as error:
            unfit.setdefault(str(error), []).append(folder.name)
            continue
        key = engine.record.key
        if why := _unasked(key, backends, device, precision):
            if name is not None:
                raise RestoreError(f"engine {name} is not what is asked for: {why}")
        elif why := misfit(key, bundle, machine):
            unfit.setdefault(why, []).append(engine.name)
        else:
            fitting.append(engine)
    for why, names in unfit.items():  # a bundle may have engines for many GPUs
        subject, verb = ("engine", "is") if len(names) == 1 else ("engines", "are")
        passed_over(f"{subject} {' and '.join(names)} {verb} passed over: {why}")
    return sorted(fitting, key=partial(_rank, bundle=bundle))


def _unasked(
    key: EngineKey, backends: tuple[BackendName, ...], device: Device, precision: Precision | None
) -> str | None:
    """In what an engine is another than was asked for, or None."""
    if key.backend not in backends:
        return f"it is of {TITLES[key.backend]}"
    if device not in ("auto", device_of(key)):
        return f"it runs on {device_of(key)}"
    return f"its precision is {key.precision}" if precision not in (None, key.precision) else None


def _first_good(
    bundle: Bundle, ranked: Sequence[StoredEngine], threads: int | None, say: Say, passed_over: Say
) -> tuple[Loop, EngineKey] | None:
    """The first of the engines that is whole and passes the golden check."""
    if not ranked:
        return None
    from shadowdiffusion.runtime.selection.fit import this_machine

    machine = this_machine()
    for engine in ranked:
        try:
            if problem := engine_damage(engine):
                raise BundleError(problem)
            failure = _verdict(bundle, engine, machine, threads, say).failure
            if failure is None:
                key = engine.record.key
                return open_loop(bundle, engine, machine.device(key) or "", threads, say), key
            advice = "shadowdiffusion export build-engine builds it again"
            passed_over(f"engine {engine.name} is quarantined, the next in line is used: {failure} ({advice})")
        except RestoreError as error:
            passed_over(f"engine {engine.name} is passed over: {error}")
    return None


def misfit(key: EngineKey, bundle: Bundle, machine: "Machine") -> str | None:
    """Why an engine is not for this machine, or None."""
    from shadowdiffusion.runtime.selection.fit import misfits

    if machine.device(key) is None:
        return "no GPU is found"
    if machine.version(key.backend) is None:
        return f"{TITLES[key.backend]} is not installed"
    return "; ".join(misfits(key, bundle, machine)) or None


def _verdict(bundle: Bundle, engine: StoredEngine, machine: "Machine", threads: int | None, say: Say) -> "Verdict":
    """What the golden check finds, or found before."""
    from shadowdiffusion.runtime.selection.golden_check import known_verdict, verdict_of

    device = machine.device(engine.record.key) or ""
    if known_verdict(engine, device) is None:
        say(f"checking engine {engine.name}, which is new to this machine")
    return verdict_of(bundle, engine, device, threads)


def _rank(engine: StoredEngine, bundle: Bundle) -> tuple[int, bool, int, bool, float, int, str]:
    """Smaller is better: a GPU, sizes that are covered (some take any), backend, time, precision.

    Times compare at equal work: those measured at the working size come first, others are scaled by the pixels.
    """
    key, model = engine.record.key, bundle.manifest.model
    narrow = key.backend not in ANY_SIZE and not covers_photos(key, model.working_size, model.multiple)
    height, width = image_sizes(key)[1]
    elsewhere = max(height, width) != -(-model.working_size // model.multiple) * model.multiple
    time = restoration_ms(engine.record, bundle) / (batch_sizes(key)[1] * height * width)
    place = PLACES.index(device_of(key))
    return place, narrow, ORDER.index(key.backend), elsewhere, time, FASTEST.index(key.precision), engine.name


def restoration_ms(record: EngineRecord, bundle: Bundle) -> float:
    """Milliseconds of the networks for a photo whose mask is given, as measured; infinite where one was not."""
    sampling = bundle.manifest.sampling
    runs = {name: sampling.default_steps if name == DENOISER else 1 for name in NETWORKS if name in record.networks}
    return sum(count * record.latency_ms.get(name, inf) for name, count in runs.items()) or inf
