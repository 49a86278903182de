"""The first time an engine is loaded on a machine, the golden example is run through it; the result is remembered.

The check runs in a process of its own: an engine that crashes takes nothing with it. One that fails is quarantined
by the record of its failure in the cache, until it is built again. The cache is a convenience: where it cannot be
written, the engine is checked each time.
"""

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.bundle.engines import Precision, StoredEngine, encode_record, network_digests, read_engine
from shadowdiffusion.runtime.bundle.folder import GOLDEN_EXPECTED, GOLDEN_INPUT, Bundle
from shadowdiffusion.runtime.bundle.golden_example import GOLDEN_TOLERANCE, Golden, psnr, read_golden
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.cache import cache_folder, keep
from shadowdiffusion.runtime.errors import RestoreError
from shadowdiffusion.runtime.loop.host_loop import HostLoop
from shadowdiffusion.runtime.loop.loop import pad
from shadowdiffusion.runtime.selection.engine_networks import on_device, open_engine, title
from shadowdiffusion.runtime.selection.profile import image_sizes
from shadowdiffusion.runtime.selection.tolerances import TOLERANCES, Decibels, agreement, kind_of, network_outputs

Array = npt.NDArray[np.float32]

LONGEST = 900
"""Seconds after which a check is given up: the first load of an engine may compile it for minutes."""
NEEDED: dict[Precision, Decibels] = TOLERANCES | {"fp32": Decibels(*[GOLDEN_TOLERANCE] * len(Decibels._fields))}
"""What every output must reach against the portable networks: in float32 as much as the whole example must. A wrong
engine is far below, and `shadowdiffusion export verify` is stricter.
"""
STOPPED = (2, 9, 15)
"""SIGINT, SIGKILL and SIGTERM come from someone else: they say nothing about the engine."""


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The outcome of one check."""

    engine: str
    device: str
    checked: str
    """ISO 8601, UTC."""
    least: float
    """PSNR in dB that is needed against the golden output."""
    psnr: float | None
    """The one that was reached; None if there was no result."""
    problem: str | None
    """Why there was no result."""

    @property
    def failure(self) -> str | None:
        """Why the engine cannot be trusted, as a phrase, or None if it can."""
        if self.psnr is None:
            return f"it failed on the golden example: {self.problem}"
        if self.psnr >= self.least:
            return None
        return f"it reproduces the golden example to {self.psnr:.1f} dB only, {self.least:g} dB are needed"


class CheckError(RestoreError):
    """The check could not be made: nothing is known about the engine."""


def known_verdict(engine: StoredEngine, device: str) -> Verdict | None:
    """What an earlier check of exactly this engine on this device found, or None."""
    return _read(_file(encode_record(engine.record)), device)


def quarantine(engine: StoredEngine, device: str | None) -> str | None:
    """Why an earlier check has put an engine aside on this device, or None."""
    verdict = known_verdict(engine, device) if device else None
    return f"it is quarantined: {verdict.failure}" if verdict and verdict.failure else None


def forget_verdict(engine: StoredEngine) -> None:
    """Let the next load check the engine again."""
    with suppress(OSError):
        if file := _file(encode_record(engine.record)):
            file.unlink(missing_ok=True)


def verdict_of(bundle: Bundle, engine: StoredEngine, device: str, threads: int | None) -> Verdict:
    """What an earlier check found, else what `check_engine` finds now, which is remembered. Raises CheckError."""
    verdict = known_verdict(engine, device)
    if verdict is None:
        verdict = check_engine(bundle, engine, device, threads)
        remember(engine, verdict)
    return verdict


def loop_verdict(bundle: Bundle, engine: StoredEngine | None, device: str, say: Callable[[str], None]) -> Verdict:
    """The same for the whole loop on the GPU, with the bundle's kernels between the networks of a good engine.

    engine: None for the bundle's own graphs. `say` hears of a check that is made now. Raises CheckError.
    """
    kernels = msgspec.json.encode(bundle.manifest.kernels, order="deterministic")
    file = _file(encode_record(engine.record) if engine else _graphs(bundle), kernels)
    verdict = _read(file, device)
    if verdict is None:
        say(f"checking the GPU kernels with {title(engine)}, which are new to this machine")
        verdict = _check(bundle, engine, device, None, "loop", GOLDEN_TOLERANCE)
        keep(file, msgspec.json.encode(verdict))
    return verdict


def check_engine(bundle: Bundle, engine: StoredEngine, device: str, threads: int | None) -> Verdict:
    """Run the golden example through an engine in another process; `remember` keeps the verdict.

    Raises CheckError if the bundle has none, or that process cannot be started or is stopped from outside.
    """
    gate = engine.record.gate
    least = min(GOLDEN_TOLERANCE, gate.least) if gate else GOLDEN_TOLERANCE
    return _check(bundle, engine, device, threads, "networks", least)


def remember(engine: StoredEngine, verdict: Verdict) -> None:
    """Keep a verdict in the cache, if that can be written."""
    keep(_file(encode_record(engine.record)), msgspec.json.encode(verdict))


def _check(
    bundle: Bundle, engine: StoredEngine | None, device: str, threads: int | None, subject: str, least: float
) -> Verdict:
    if not {GOLDEN_INPUT, GOLDEN_EXPECTED} <= bundle.manifest.files.keys():
        raise CheckError("the bundle has no golden example to check it with")
    psnr, problem = _in_another_process(bundle, engine, threads, subject)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Verdict(engine.name if engine else title(None), device, now, least, psnr, problem)


def _read(file: Path | None, device: str) -> Verdict | None:
    if file is None:
        return None
    try:
        verdict = msgspec.json.decode(file.read_bytes(), type=Verdict)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return verdict if verdict.device == device else None


def _file(*subject: bytes) -> Path | None:
    """Where the verdict on a subject is remembered, None = nowhere. A check against other tolerances is another one."""
    checks = cache_folder("checks")
    tolerances = msgspec.json.encode(NEEDED, order="deterministic")
    return checks and checks / f"{hashlib.sha256(b''.join((tolerances, *subject))).hexdigest()}.json"


def _graphs(bundle: Bundle) -> bytes:
    """What the portable networks are, and what runs them."""
    import onnxruntime

    return msgspec.json.encode([onnxruntime.__version__, sorted(network_digests(bundle).items())])


def _in_another_process(
    bundle: Bundle, engine: StoredEngine | None, threads: int | None, subject: str
) -> tuple[float | None, str | None]:
    """PSNR in dB, or None and what went wrong."""
    code = "from shadowdiffusion.runtime.selection.golden_check import main; main()"
    if not Path(sys.executable or "").name.lower().startswith(("python", "pypy")):
        raise CheckError(f"it can only be checked from Python itself, this is {sys.executable or 'embedded'}")
    paths = [str(bundle.path.resolve()), str(engine.path.resolve()) if engine else ""]
    command = [sys.executable, "-W", "ignore", "-c", code, *paths, str(threads or ""), subject]
    try:
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired:
        return None, f"no result after {LONGEST} seconds"
    except OSError as error:
        raise CheckError(f"it cannot be checked: Python ({sys.executable}) cannot be started: {error}") from error
    if run.returncode < 0:
        name = signal.Signals(-run.returncode).name
        if -run.returncode in STOPPED:
            raise CheckError(f"its check was stopped by {name}")
        return None, f"it crashed ({name})"
    try:
        answer = json.loads(run.stdout.splitlines()[-1])
        return answer["psnr"], answer["problem"]
    except (IndexError, ValueError, KeyError, TypeError):
        last = run.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {run.returncode}"]
        return None, last[0]


def main() -> None:
    """What the other process does: BUNDLE ENGINE THREADS and "networks" or "loop" -> one line of JSON."""
    bundle, engine, threads, subject = sys.argv[1:]
    try:
        opened = load_bundle(bundle)
        if subject == "loop":
            psnr = loop_psnr(opened, read_engine(Path(engine)) if engine else None)
        else:
            psnr = golden_psnr(opened, read_engine(Path(engine)), int(threads) if threads else None)
        answer: dict[str, float | str | None] = {"psnr": psnr, "problem": None}
    except RestoreError as error:
        answer = {"psnr": None, "problem": str(error)}
    print(json.dumps(answer))


def golden_psnr(bundle: Bundle, engine: StoredEngine, threads: int | None) -> float:
    """PSNR in dB of the engine on the golden example, at most 200, with all networks that it has.

    An example whose size is outside the engine's profile is cut or repeated to fit, and the portable networks say
    what the result should be. Raises RestoreError if there is no finite result, or if an output of a network is not
    near that of the portable one: of the restored image alone the denoiser may be a small part.
    """
    from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks

    networks, portable = open_engine(bundle, engine, threads), OnnxRuntimeNetworks(bundle, "cpu", threads)
    golden = read_golden(bundle)
    table, seeds = bundle.table(golden.steps), [golden.seed]
    image, mask = _fitted(golden, bundle, engine)
    expected = golden.x
    if image is not golden.image:
        expected = HostLoop(bundle, portable).restore(image, mask, table, seeds).image
    result = HostLoop(bundle, networks).restore(image, mask, table, seeds, with_mask=True)
    if result.mask is None or not (np.isfinite(result.image).all() and np.isfinite(result.mask).all()):
        raise RestoreError("the result has values that are not finite")
    padded = pad(image, bundle.manifest.model.multiple), pad(mask, bundle.manifest.model.multiple)
    clean = portable.prior(*padded)[0] if bundle.has_prior else None
    found, truth = (network_outputs(of, *padded, clean, table, golden.seed) for of in (networks, portable))
    needed = NEEDED[engine.record.key.precision]._asdict()
    for (name, output), (_, expected_output) in zip(found, truth, strict=True):
        if not (reached := agreement(name, output, expected_output)) >= (least := needed[kind_of(name)]):
            text = f"{reached:.1f} dB only, {least:g} dB are needed"
            raise RestoreError(f"{name} is that of the portable networks to {text}")
    return min(200.0, psnr(result.image, expected))


def loop_psnr(bundle: Bundle, engine: StoredEngine | None) -> float:
    """PSNR in dB of all results of the loop on the GPU against the same networks with the loop on the CPU, at most 200.

    With and without the mask of the golden example, three times each: in single launches, then captured as a CUDA
    graph, then launched as one again. Raises RestoreError.
    """
    from shadowdiffusion.runtime.gpu.device_loop import DeviceLoop

    networks, golden = on_device(bundle, engine), read_golden(bundle)
    image, mask = _fitted(golden, bundle, engine)
    on_gpu, on_cpu = DeviceLoop(bundle, networks, lambda line: None), HostLoop(bundle, networks)
    lowest = 200.0
    for masks in (mask, None) if bundle.has_prior else (mask,):
        run = partial(on_gpu.restore, image, masks, bundle.table(golden.steps), [golden.seed], True)
        expected = on_cpu.restore(image, masks, bundle.table(golden.steps), [golden.seed], True)
        for result in (run(), run(), run()):
            for name in ("image", "clean", "mask", "illumination"):
                lowest = min(lowest, psnr(getattr(result, name), getattr(expected, name)))
    return lowest


def _fitted(golden: Golden, bundle: Bundle, engine: StoredEngine | None) -> tuple[Array, Array]:
    """The image and mask of the example, cut or repeated where their size is outside the engine's profile."""
    if engine is None:
        return golden.image, golden.mask
    multiple = bundle.manifest.model.multiple
    padded = [-(-length // multiple) * multiple for length in golden.image.shape[2:]]
    low, _, high = image_sizes(engine.record.key)
    fitted = [min(max(size), most) for size, most in zip(zip(padded, low, strict=True), high, strict=True)]
    if fitted == padded:
        return golden.image, golden.mask
    return _resized(golden.image, *fitted), _resized(golden.mask, *fitted)


def _resized(array: Array, height: int, width: int) -> Array:
    """[1, C, h, w] repeated and cut to a size."""
    h, w = array.shape[2:]
    repeated = np.tile(array, (1, 1, -(-height // h), -(-width // w)))
    return np.ascontiguousarray(repeated[:, :, :height, :width])
