"""The first time an engine is loaded on a machine, the golden example is run through it; the result is remembered.

The check runs in a process of its own: an engine that crashes takes nothing with it. One that fails is quarantined
by the record of its failure in the cache, until it is built again. The cache is a convenience: where it cannot be
written, the engine is checked each time.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from math import sqrt
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from runtime.bundle import GOLDEN_EXPECTED, GOLDEN_INPUT, Bundle, Step
from runtime.cache import cache_folder
from runtime.engines import Precision, StoredEngine, encode_record, read_engine
from runtime.errors import RestoreError
from runtime.golden_example import GOLDEN_TOLERANCE, psnr, read_golden
from runtime.host_loop import HostLoop
from runtime.networks import Networks
from runtime.noise import gaussian
from runtime.opening import load_bundle
from runtime.profile import image_sizes

Array = npt.NDArray[np.float32]

LONGEST = 900
"""Seconds after which a check is given up: the first load of an engine may compile it for minutes."""
OUTPUT_DB: dict[Precision, float] = {"fp32": 50.0, "fp16": 35.0, "bf16": 25.0, "int8": 6.0, "fp8": 6.0}
"""PSNR in dB, peak 1, that every output must reach against the portable networks: less than rounding leaves, more
than a wrong engine gives (zeros instead of noise: 0 dB). An int8 denoiser that the accuracy gate let through had 12 dB
at its last step, where the noise hardly counts.
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
    try:
        verdict = msgspec.json.decode(_file(engine).read_bytes(), type=Verdict)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return verdict if verdict.device == device else None


def quarantine(engine: StoredEngine, device: str | None) -> str | None:
    """Why an earlier check has put an engine aside on this device, or None."""
    verdict = known_verdict(engine, device) if device else None
    return f"it is quarantined: {verdict.failure}" if verdict and verdict.failure else None


def forget_verdict(engine: StoredEngine) -> None:
    """Let the next load check the engine again."""
    try:
        _file(engine).unlink(missing_ok=True)
    except OSError:
        return


def verdict_of(bundle: Bundle, engine: StoredEngine, device: str, threads: int | None) -> Verdict:
    """What an earlier check found, else what `check_engine` finds now, which is remembered. Raises CheckError."""
    verdict = known_verdict(engine, device)
    if verdict is None:
        verdict = check_engine(bundle, engine, device, threads)
        remember(engine, verdict)
    return verdict


def check_engine(bundle: Bundle, engine: StoredEngine, device: str, threads: int | None) -> Verdict:
    """Run the golden example through an engine in another process; `remember` keeps the verdict.

    Raises CheckError if the bundle has none, or that process cannot be started or is stopped from outside.
    """
    if not {GOLDEN_INPUT, GOLDEN_EXPECTED} <= bundle.manifest.files.keys():
        raise CheckError("the bundle has no golden example to check it with")
    gate = engine.record.gate
    least = min(GOLDEN_TOLERANCE, gate.least) if gate else GOLDEN_TOLERANCE
    psnr, problem = _in_another_process(bundle, engine, threads)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Verdict(engine.name, device, now, least, psnr, problem)


def remember(engine: StoredEngine, verdict: Verdict) -> None:
    """Keep a verdict in the cache, if that can be written."""
    file = _file(engine)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=file.parent)
        try:
            with os.fdopen(handle, "wb") as target:
                target.write(msgspec.json.encode(verdict))
            os.replace(temporary, file)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError:
        return


def _file(engine: StoredEngine) -> Path:
    return cache_folder("checks") / f"{hashlib.sha256(encode_record(engine.record)).hexdigest()}.json"


def _in_another_process(bundle: Bundle, engine: StoredEngine, threads: int | None) -> tuple[float | None, str | None]:
    """PSNR in dB, or None and what went wrong."""
    root = str(Path(__file__).resolve().parents[1])
    code = f"import sys; sys.path.insert(0, {root!r}); from runtime.golden_check import main; main()"
    if not Path(sys.executable or "").name.lower().startswith(("python", "pypy")):
        raise CheckError(f"it can only be checked from Python itself, this is {sys.executable or 'embedded'}")
    command = [sys.executable, "-c", code, str(bundle.path.resolve()), str(engine.path.resolve()), str(threads or "")]
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
    """What the other process does: BUNDLE ENGINE THREADS -> one line of JSON."""
    bundle, engine, threads = sys.argv[1:]
    try:
        psnr = golden_psnr(load_bundle(bundle), read_engine(Path(engine)), int(threads) if threads else None)
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
    from runtime.engine_networks import open_engine
    from runtime.onnxruntime_networks import OnnxRuntimeNetworks

    networks, portable = open_engine(bundle, engine, threads), OnnxRuntimeNetworks(bundle, "cpu", threads)
    golden, multiple = read_golden(bundle), bundle.manifest.model.multiple
    table, seeds = bundle.table(golden.steps), [golden.seed]
    padded = [-(-length // multiple) * multiple for length in golden.image.shape[2:]]
    low, _, high = image_sizes(engine.record.key)
    fitted = [min(max(size), most) for size, most in zip(zip(padded, low, strict=True), high, strict=True)]
    image, mask, expected = golden.image, golden.mask, golden.x
    if fitted != padded:
        image, mask = (_resized(array, *fitted) for array in (image, mask))
        expected = HostLoop(bundle, portable).restore(image, mask, table, seeds).image
    result = HostLoop(bundle, networks).restore(image, mask, table, seeds, with_mask=True)
    if result.mask is None or not (np.isfinite(result.image).all() and np.isfinite(result.mask).all()):
        raise RestoreError("the result has values that are not finite")
    sample = (_resized(image, *fitted), _resized(mask, *fitted))
    found, truth = (_outputs(bundle, of, *sample, table) for of in (networks, portable))
    for name, output in found.items():
        if not psnr(output, truth[name]) >= (least := OUTPUT_DB[engine.record.key.precision]):
            text = f"{psnr(output, truth[name]):.1f} dB only, {least:g} dB are needed"
            raise RestoreError(f"{name} is that of the portable networks to {text}")
    return min(200.0, psnr(result.image, expected))


def _outputs(bundle: Bundle, networks: Networks, image: Array, mask: Array, table: list[Step]) -> dict[str, Array]:
    """Every output of every network, of the denoiser at the first and the last step, by what it is."""
    found = dict[str, Array]()
    if bundle.has_prior:
        found["the clean image"], found["the matte"] = networks.prior(image, mask)
    y, noise = 2 * image - 1, gaussian(*image.shape[2:], seed=0, step=0)[None]
    for step in (table[0], table[-1]):
        x_t = np.float32(sqrt(step.alpha_bar)) * y + np.float32(sqrt(1 - step.alpha_bar)) * noise
        found[f"the noise at t = {step.t}"] = networks.denoise(y, mask, x_t, step, False)[0]
        noise_too, shadow = networks.denoise(y, mask, x_t, step, True)
        found[f"the noise with a mask at t = {step.t}"] = noise_too
        if shadow is not None:
            found[f"the mask at t = {step.t}"] = shadow
    return found


def _resized(array: Array, height: int, width: int) -> Array:
    """[1, C, h, w] repeated and cut to a size."""
    h, w = array.shape[2:]
    repeated = np.tile(array, (1, 1, -(-height // h), -(-width // w)))
    return np.ascontiguousarray(repeated[:, :, :height, :width])
