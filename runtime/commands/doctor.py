"""What this machine offers, what would restore photos here, and why everything else is passed over."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import NamedTuple, get_args

from shadowdiffusion.runtime import TELEMETRY_OFF
from shadowdiffusion.runtime.bundle.device import find_cpu, find_gpu
from shadowdiffusion.runtime.bundle.engines import (
    BackendName,
    Device,
    EngineKey,
    engine_folders,
    engine_stores,
    read_engine,
)
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.cache import CHOOSE, cache_folder
from shadowdiffusion.runtime.cores import cores, usable_cores
from shadowdiffusion.runtime.errors import BundleError, RestoreError
from shadowdiffusion.runtime.restorer import Restorer
from shadowdiffusion.runtime.selection.fit import this_machine
from shadowdiffusion.runtime.selection.selection import Backend, choose, misfit

PACKAGES = ("onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "numpy", "pyvips")
GIB = 2**30


class Finding(NamedTuple):
    """One line: what it is about, what was found, and whether photos can be restored in spite of it."""

    subject: str
    text: str
    good: bool = True


def examine(
    bundle: str | os.PathLike[str] | None, backend: Backend, device: Device, threads: int | None
) -> Iterator[Finding]:
    """Findings as they are made: machine, packages, bundle, what is chosen, and the golden check of that."""
    yield from _machine()
    yield from _packages()
    try:
        opened = load_bundle(bundle)
    except RestoreError as error:
        yield Finding("bundle", str(error), good=False)
        return
    yield from _bundle(opened)
    yield from _backends(opened)
    said: list[str] = []
    try:
        loop = choose(opened, backend, device, threads, said.append)
        yield from (Finding("selection", line) for line in said)
        yield Finding("chosen", loop.title)
        yield from _check(Restorer(opened, loop))
    except RestoreError as error:
        yield Finding("chosen", str(error), good=False)


def _machine() -> Iterator[Finding]:
    yield Finding("shadowdiffusion", _installed("shadowdiffusion") or "not installed as a package")
    yield Finding("python", f"{platform.python_version()} ({sys.executable}), {platform.platform()}")
    limit = "" if usable_cores() == cores() else f", of which this container may use {usable_cores()}"
    yield Finding("cpu", f"{find_cpu()}, {cores()} cores{limit}")
    gpu = find_gpu()
    found = f"{gpu.name}, compute capability {gpu.sm / 10:g}, driver {gpu.driver}" if gpu else "none that CUDA can use"
    yield Finding("gpu", found)
    yield Finding("cache", _cache())
    yield Finding("telemetry", _telemetry())


def _cache() -> str:
    checks = cache_folder("checks")
    if checks is None:
        return f"no cache, since this user has no home folder: engines are checked on every start ({CHOOSE})"
    cache = checks.parent
    there = next(folder for folder in (cache, *cache.parents) if os.path.exists(folder))
    if not os.access(there, os.W_OK):
        return f"{cache}, not writable: engines are checked on every start ({CHOOSE})"
    return f"{cache}, {shutil.disk_usage(there).free / GIB:.1f} GiB free"


def _telemetry() -> str:
    """Whether ONNX Runtime sends any: these are the values that it takes for a yes."""
    chosen = os.environ.get(TELEMETRY_OFF, "")
    state = "off" if chosen.lower() in ("1", "true", "yes") else "on where ONNX Runtime has any"
    return f"{state} ({TELEMETRY_OFF}={chosen})"


def _packages() -> Iterator[Finding]:
    for package in PACKAGES:
        if found := _installed(package):
            yield Finding(package, found)
    if _installed("onnxruntime") and _installed("onnxruntime-gpu"):
        yield Finding("onnxruntime", "both onnxruntime and onnxruntime-gpu are installed, which disables the GPU")
    try:
        import onnxruntime
    except ImportError as error:
        yield Finding("onnxruntime", f"cannot be imported ({error}): pip install onnxruntime", good=False)
    else:
        providers = onnxruntime.get_available_providers()
        cuda = "" if "CUDAExecutionProvider" in providers else " (no CUDA: that takes onnxruntime-gpu)"
        yield Finding("providers", ", ".join(providers) + cuda)


def _bundle(bundle: Bundle) -> Iterator[Finding]:
    manifest = bundle.manifest
    size = sum(entry.size for entry in manifest.files.values())
    text = f"{manifest.name} ({manifest.task}), {size / 1e6:.1f} MB, all files whole: {bundle.path}"
    yield Finding("bundle", text)
    generations = sorted({build.sm for kernel in manifest.kernels for build in kernel.builds})
    names = ", ".join(f"sm_{sm}" for sm in generations)
    yield Finding("kernels", names or "none: shadowdiffusion export kernels BUNDLE adds them, for GPUs")
    yield Finding("engines", f"looked for in {' and '.join(map(str, engine_stores(bundle)))}")


def _backends(bundle: Bundle) -> Iterator[Finding]:
    """In the order in which they are preferred: what each lacks."""
    machine, engines = this_machine(), list[EngineKey]()
    for folder in engine_folders(*engine_stores(bundle)):
        with suppress(BundleError):  # `choose` says what is wrong with it
            engines.append(read_engine(folder).record.key)
    for name in get_args(BackendName):
        lacking = [] if machine.version(name) else ["not installed"]
        lacking += [] if machine.gpu or name in ("cpu-kernels", "onnxruntime") else ["no GPU"]
        own = [key for key in engines if key.backend == name]
        fitting = sum(misfit(key, bundle, machine) is None for key in own)
        text = f"{len(own)} engines, {fitting} for this machine" if own else "no engine"
        yield Finding(f"{name} engines", ", ".join([text, *lacking]))


def _check(restorer: Restorer) -> Iterator[Finding]:
    """The golden example, twice: the first run also opens the networks."""
    golden = Finding("golden check", "the bundle has no example to check with")
    if any(name.startswith("golden/") for name in restorer.bundle.manifest.files):
        try:
            (found, first), (_, second) = _timed(restorer.check), _timed(restorer.check)
            text = f"passed with {found:.1f} dB, in {first:.2f} s the first time and {second:.2f} s the second"
            golden = Finding("golden check", text)
        except RestoreError as error:
            golden = Finding("golden check", str(error), good=False)
    yield golden


def _timed(run: Callable[[], float]) -> tuple[float, float]:
    started = perf_counter()
    return run(), perf_counter() - started


def _installed(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
