"""The methods that can be compared, each by the name that the command line gives it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.quality.border_gain import border_gain
from shadowdiffusion.benchmarks.quality.classic import clahe, gamma, histogram_equalisation
from shadowdiffusion.benchmarks.quality.lime import lime
from shadowdiffusion.benchmarks.quality.metrics import Mask
from shadowdiffusion.benchmarks.quality.record import BundleFacts, MaskKind
from shadowdiffusion.runtime.bundle.folder import MANIFEST, Task
from shadowdiffusion.runtime.bundle.opening import built_in
from shadowdiffusion.runtime.restorer import Restorer
from shadowdiffusion.runtime.working_photo import Restored
from shadowdiffusion.training.datasets import read_photo
from shadowdiffusion.training.layouts import EXTENSIONS

Pixels = NDArray[np.uint8]

CLASSIC: dict[str, Callable[[Pixels], Pixels]] = {
    "identity": lambda image: image,
    "gamma": gamma,
    "he": histogram_equalisation,
    "clahe": clahe,
    "lime": lime,
}
BORDER_GAIN = "border-gain"
NAMES = ("bundle", "prior", *CLASSIC, BORDER_GAIN)


@dataclass(frozen=True)
class Photo:
    """A degraded photo uint8[H, W, 3]; mask: bool[H, W], True = shadow, None where the set has none."""

    name: str
    pixels: Pixels
    mask: Mask | None


@dataclass(frozen=True)
class Outcome:
    """What a method made of a photo; seconds: None for results that were there before."""

    mask: MaskKind
    pixels: Pixels
    seconds: float | None


@dataclass(frozen=True)
class Method:
    """results: of one photo, one for every kind of mask that the method can use; bundle: the one behind it."""

    name: str
    results: Callable[[Photo], Iterator[Outcome]]
    bundle: BundleFacts | None = None


@dataclass(frozen=True)
class Settings:
    """How bundles restore; None: as they say themselves."""

    steps: int | None = None
    working_size: int | None = None
    seed: int = 0


def find_methods(
    names: Sequence[str], bundle: Path | None, task: Task, photos: Sequence[str], settings: Settings
) -> list[Method]:
    """The methods of the command line.

    names: of NAMES, or a folder or zip file that is a bundle, or a folder of results. bundle: the one that "bundle" and
    "prior" stand for, None = the built-in one for `task`. photos: names of all photos, each of which a folder of
    results must have.

    Raises:
        BenchmarkError: a name that is nothing of these, or results that are missing.
        RestoreError: a bundle that does not load.
    """
    opened: dict[Path, _Bundle] = {}

    def restored(path: Path, name: str, prior: bool = False) -> Method:
        if path not in opened:
            opened[path] = _Bundle.load(path, settings)
        one = opened[path]
        if prior and not one.has_prior:
            raise BenchmarkError(f"bundle {path} has no prior network: leave out the method prior")
        return Method(name, one.prior if prior else one.whole, one.facts)

    methods = []
    for name in dict.fromkeys(names):
        path = Path(name)
        if name in ("bundle", "prior"):
            methods.append(restored(bundle or built_in(task), name, name == "prior"))
        elif name in CLASSIC:
            methods.append(Method(name, _timed("none", CLASSIC[name])))
        elif name == BORDER_GAIN:
            methods.append(Method(name, _border_gain))
        elif path.is_file() or (path / MANIFEST).is_file():
            methods.append(restored(path, path.name))
        elif path.is_dir():
            methods.append(Method(path.name, _found(_results(path, photos))))
        else:
            known = ", ".join(NAMES)
            raise BenchmarkError(f"no method {name}: use one of {known}, a bundle, or a folder of results")
    named = [method.name for method in methods]
    if twice := next((name for name in named if named.count(name) > 1), None):
        raise BenchmarkError(f"two methods are called {twice}: rename one of the folders")
    return methods


def _timed(kind: MaskKind, correct: Callable[[Pixels], Pixels]) -> Callable[[Photo], Iterator[Outcome]]:
    def results(photo: Photo) -> Iterator[Outcome]:
        started = perf_counter()
        pixels = correct(photo.pixels)
        yield Outcome(kind, pixels, perf_counter() - started)

    return results


def _border_gain(photo: Photo) -> Iterator[Outcome]:
    if photo.mask is not None:
        mask = photo.mask
        yield from _timed("given", lambda image: border_gain(image, mask))(photo)


def _found(files: dict[str, Path]) -> Callable[[Photo], Iterator[Outcome]]:
    def results(photo: Photo) -> Iterator[Outcome]:
        yield Outcome("unknown", read_photo(files[photo.name]), None)

    return results


def _results(folder: Path, photos: Sequence[str]) -> dict[str, Path]:
    """The result of every photo by its name. Raises BenchmarkError naming those that are missing."""
    there = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in EXTENSIONS}
    missing = [name for name in dict.fromkeys(photos) if name not in there]
    if missing:
        some = ", ".join(missing[:10]) + (" and so on" if len(missing) > 10 else "")
        all_photos = len(set(photos))
        raise BenchmarkError(
            f"results in {folder} lack {len(missing)} of {all_photos} photos: {some}; name them like the photos"
        )
    return there


class _Bundle:
    """A bundle that restores photos with the mask and without; what its two methods share is computed once."""

    def __init__(self, restorer: Restorer, facts: BundleFacts, settings: Settings) -> None:
        self._restorer, self.facts, self._settings = restorer, facts, settings
        self.has_prior = restorer.bundle.manifest.model.prior_parameters is not None
        self._photo: Photo | None = None
        self._done: dict[MaskKind, Restored] = {}

    @classmethod
    def load(cls, path: Path, settings: Settings) -> _Bundle:
        from shadowdiffusion.runtime.selection.loading import load

        restorer = load(path)
        manifest = restorer.bundle.manifest
        digest = hashlib.sha256((restorer.bundle.path / MANIFEST).read_bytes()).hexdigest()
        facts = BundleFacts(
            manifest.name,
            manifest.task,
            manifest.created,
            digest,
            settings.steps,
            settings.working_size,
            settings.seed,
        )
        return cls(restorer, facts, settings)

    def whole(self, photo: Photo) -> Iterator[Outcome]:
        """Prior and diffusion, as deployed."""
        for kind, restored in self._restored(photo):
            yield Outcome(kind, restored.image, restored.timings["total"])

    def prior(self, photo: Photo) -> Iterator[Outcome]:
        """The degradation prior alone."""
        for kind, restored in self._restored(photo):
            assert restored.prior is not None
            yield Outcome(kind, restored.prior, restored.timings["total"] - restored.timings["diffusion"])

    def _restored(self, photo: Photo) -> Iterator[tuple[MaskKind, Restored]]:
        if self._photo is not photo:
            self._photo, self._done = photo, {}
        for kind in self._kinds(photo):
            if kind not in self._done:
                self._done[kind] = self._restore(photo, kind)
            yield kind, self._done[kind]

    def _kinds(self, photo: Photo) -> tuple[MaskKind, ...]:
        if self.facts.task != "shadow":
            return ("whole",)
        kinds: list[MaskKind] = ["given"] if photo.mask is not None else []
        return (*kinds, "none") if self.has_prior else tuple(kinds)

    def _restore(self, photo: Photo, kind: MaskKind) -> Restored:
        mask = None
        if kind == "whole":
            mask = np.full(photo.pixels.shape[:2], 255, np.uint8)
        elif kind == "given":
            assert photo.mask is not None
            mask = photo.mask.astype(np.uint8) * 255
        how = self._settings
        return self._restorer(
            photo.pixels, mask, steps=how.steps, seed=how.seed, working_size=how.working_size, with_prior=True
        )
