"""`shadowdiffusion bench startup`: new processes, in turns."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic

import msgspec
import numpy as np

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.latency.racing import timed
from shadowdiffusion.benchmarks.latency.reference import ReferenceLoop
from shadowdiffusion.benchmarks.measurement.distribution import distribution
from shadowdiffusion.benchmarks.measurement.machine import ROOT
from shadowdiffusion.benchmarks.models.subject import Subject
from shadowdiffusion.benchmarks.session import Options, Session
from shadowdiffusion.benchmarks.startup.record import KIND, Start, StartPart, StartupRecord
from shadowdiffusion.export.photos import synthetic
from shadowdiffusion.export.verify import psnr
from shadowdiffusion.runtime.photo.encoding import encode_photo
from shadowdiffusion.runtime.photo.image import Photo
from shadowdiffusion.runtime.photo.reading import read_photo
from shadowdiffusion.runtime.restorer import Restorer

PROBE = Path(__file__).with_name("probe.py")
PHOTO = (426, 640)
"""Height and width of the photo."""
FIRST = "first photo"


def run(options: Options, command: Sequence[str]) -> None:
    """Measure and store. Raises BenchmarkError if anything is missing."""
    session = Session(options, command)
    for subject, last in session.models():
        what = f"{subject.bundle.manifest.name}, startup"
        if session.over(what):
            break
        try:
            record = measure(session, subject, last)
        except BenchmarkError as error:
            session.lost(what, error)
            continue
        session.keep(KIND, record if options.force else quiet(record), lines(record), len(record.noisy))
    session.close()


def measure(session: Session, subject: Subject, until: float) -> StartupRecord:
    """All processes, done at about `until`, in seconds of `time.monotonic`."""
    bench, bundle = session.bench, subject.bundle
    height, width = bench.photo if session.options.smoke else PHOTO
    steps = 1 if session.options.smoke else bundle.manifest.sampling.default_steps
    pixels = np.rint(255 * synthetic(height, width).transpose(1, 2, 0)).astype(np.uint8)
    with tempfile.TemporaryDirectory(prefix="shadowdiffusion-") as folder:
        photo, result = Path(folder, "photo.png"), Path(folder, "restored.png")
        photo.write_bytes(encode_photo(Photo(pixels), "png"))
        probe = Probe(bundle.path, bench.device, bench.threads, photo, result, steps)
        runs: dict[str, Callable[[], object]] = {
            "python": program("-c", "pass"),
            "help": program("-m", "runtime", "--help"),
            "import": program("-c", "from shadowdiffusion import runtime; runtime.load"),
            "load": program(
                "-c",
                f"from shadowdiffusion import runtime; runtime.load({str(bundle.path)!r}, device={bench.device!r})",
            ),
            FIRST: probe,
        }
        each = {name: _milliseconds(call) for name, call in runs.items()}
        probe.parts.clear()
        effort = bench.effort(until - monotonic(), sum(each.values()), len(runs))
        session.report(f"starting {len(runs)} processes in {effort.least} to {effort.most} rounds")
        race = timed(runs, effort, bench.setting(subject, 32, 1, steps).device)
        shown = read_photo(result).pixels
    rounds = len(race.samples[FIRST])
    loop = ReferenceLoop(subject, bench.setting(subject, 32, 1, steps).device)
    truth = Restorer(bundle, loop, native_loop=loop)(Photo(pixels), steps=steps, with_mask=False).image
    taken = probe.parts[-rounds:]
    return StartupRecord(
        header=session.header,
        model=subject.facts,
        device=bench.device,
        photo=(width, height),
        steps=steps,
        threads=bench.threads,
        rounds=rounds,
        starts=[Start(name, TITLES[name], distribution(race.samples[name])) for name in runs],
        parts=[StartPart(name, distribution([1e3 * parts[name] for parts in taken])) for name in taken[0]],
        modules=probe.modules,
        psnr=psnr(_unit(shown), _unit(truth)),
        noisy=race.noisy,
    )


TITLES = {
    "python": "python that does nothing",
    "help": "shadowdiffusion --help",
    "import": "import runtime, and what loading needs",
    "load": "a bundle opened and verified",
    FIRST: "a photo read, restored and written",
}


class Probe:
    """A run of `probe.py`. parts: seconds by part, of every run so far."""

    def __init__(self, bundle: Path, device: str, threads: int, photo: Path, result: Path, steps: int) -> None:
        self._words = [str(word) for word in (PROBE, bundle, device, threads, photo, result, steps)]
        self.parts = list[dict[str, float]]()
        self.modules = 0

    def __call__(self) -> None:
        """Raises BenchmarkError with the last words of a process that failed."""
        started = monotonic()
        said = json.loads(_output(self._words))
        self.modules = said["modules"]
        ended = monotonic()
        order = ("import", "load", "read", "prepare", "prior", "diffusion", "full size", "write")
        parts = {name: said["parts"][name] for name in order}
        self.parts.append({"interpreter": said["began"] - started} | parts | {"exit": ended - said["ended"]})


def program(*words: str) -> Callable[[], object]:
    """A new process of Python with these arguments."""
    return lambda: _output(list(words))


def _output(words: list[str]) -> str:
    done = subprocess.run((sys.executable, *words), cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise BenchmarkError(f"a new process has failed: {last[0]}")
    return done.stdout


def quiet(record: StartupRecord) -> StartupRecord | None:
    """The record without processes that spread too wide; the parts go with the first photo."""
    if FIRST in record.noisy:
        return None
    starts = [start for start in record.starts if start.name not in record.noisy]
    return msgspec.structs.replace(record, starts=starts, noisy={})


def lines(record: StartupRecord) -> Iterator[str]:
    """The processes, and the parts of the first photo."""
    yield f"{record.model.name}, new processes, {record.rounds} rounds"
    for start in record.starts:
        spread = record.noisy.get(start.name)
        yield f"  {start.name:<14} {start.ms.p50:>9.1f} ms  {start.title}" + (
            f"  noisy, {spread:.0%}" if spread else ""
        )
    yield f"  of the first photo ({record.psnr:.1f} dB, {record.modules} modules):"
    for part in record.parts:
        yield f"    {part.name:<12} {part.ms.p50:>9.1f} ms"


def _unit(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / np.float32(255)


def _milliseconds(call: Callable[[], object]) -> float:
    started = monotonic()
    call()
    return 1e3 * (monotonic() - started)
