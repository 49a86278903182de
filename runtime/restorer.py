"""Photos in, restored photos out: one at a time, or those of one working size together."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, repeat, zip_longest
from time import perf_counter

import numpy as np

from shadowdiffusion.runtime.bundle.folder import Bundle, Step
from shadowdiffusion.runtime.bundle.golden_example import GOLDEN_TOLERANCE, psnr, read_golden
from shadowdiffusion.runtime.errors import BundleError, RestoreError
from shadowdiffusion.runtime.loop.loop import Loop, Progress
from shadowdiffusion.runtime.loop.tiled_loop import NativeLoop
from shadowdiffusion.runtime.sources import Source
from shadowdiffusion.runtime.working_photo import Restored, WorkingPhoto

BATCH = 8
"""Photos that `Restorer.many` takes at once."""


class Restorer:
    """Restores photos with one bundle; may be called from several threads.

    native_loop: what runs photos at their own size; None: `loop`, on tiles where it must be.
    """

    def __init__(self, bundle: Bundle, loop: Loop, native_loop: Loop | None = None) -> None:
        self.bundle = bundle
        self.loop = loop
        self.native_loop = native_loop or NativeLoop(bundle, loop)

    def through(self, wrap: Callable[[Loop], Loop]) -> "Restorer":
        """A Restorer that runs its loops, whichever a photo needs, inside others."""
        return Restorer(self.bundle, wrap(self.loop), wrap(self.native_loop))

    def __call__(
        self,
        image: Source,
        mask: Source | None = None,
        *,
        clean: Source | None = None,
        steps: int | None = None,
        seed: int = 0,
        working_size: int | None = None,
        native: bool = False,
        strength: float = 1.0,
        with_prior: bool = False,
        with_mask: bool = True,
        progress: Progress | None = None,
    ) -> Restored:
        """Restore a photo.

        image, mask, clean: whatever `runtime.sources.Source` lists. mask: 1 (white) = shadow, of the photo's
        proportions; None lets the prior find the shadow. clean: an estimate of the photo without its shadow, of
        the photo's size, in place of the prior's, with which the method runs whole on any bundle. steps: one of the
        bundle's step counts. working_size: long side in pixels at which the networks run, never above
        the photo's own; native: run them at the photo's own size, on tiles where memory or an engine does
        not suffice, of which a warning tells and the result's `tile`. strength: 0 leaves the photo as it is, 1
        changes it in full, between them the logarithm of the gain is scaled. with_prior, with_mask: what to
        return beside the photo; the mask costs time. The same input, seed and tile give the same result.
        `progress(done, steps)` is called after each step. Raises RestoreError.
        """
        wanted = self._wanted(steps, seed, strength, with_prior, with_mask)  # complain before any work
        photo = WorkingPhoto(image, mask, self._long_side(working_size, native), clean, self._everywhere)
        loop = self.native_loop if native else self.loop
        return _together([photo], loop, wanted, progress)[0]

    def many(
        self,
        images: Iterable[Source],
        masks: Iterable[Source | None] | None = None,
        *,
        batch: int = BATCH,
        steps: int | None = None,
        seed: int = 0,
        working_size: int | None = None,
        strength: float = 1.0,
        with_prior: bool = False,
        with_mask: bool = True,
    ) -> Iterator[Restored]:
        """Restore photos in their order, `batch` at a time: those of one working size go through the networks together.

        masks: one for each photo, None where there is none. The rest is as for a single photo, and so are the results,
        bit for bit, on one backend. A GPU is better used in batches, a CPU is not. Raises RestoreError, also if there
        are not as many masks as photos; what shares a batch with a photo at fault is lost with it.
        """
        if batch < 1:
            raise RestoreError(f"batch {batch} is too small: choose at least 1 photo")
        wanted = self._wanted(steps, seed, strength, with_prior, with_mask)
        pairs = zip(images, repeat(None), strict=False) if masks is None else _paired(images, masks)
        return self._many(pairs, batch, self._long_side(working_size, native=False), wanted)

    def _many(
        self, pairs: Iterator[tuple[Source, Source | None]], batch: int, size: int | None, wanted: "_Wanted"
    ) -> Iterator[Restored]:
        def working(image: Source, mask: Source | None) -> WorkingPhoto:
            return WorkingPhoto(image, mask, size, everywhere=self._everywhere)

        while photos := [working(*pair) for pair in islice(pairs, batch)]:
            groups: dict[tuple[object, ...], list[int]] = {}
            for index, photo in enumerate(photos):
                groups.setdefault((photo.planes.shape, photo.mask is None), []).append(index)
            done: dict[int, Restored] = {}
            for group in groups.values():
                same = [photos[index] for index in group]
                done |= zip(group, _together(same, self.loop, wanted), strict=True)
            yield from (done[index] for index in range(len(photos)))

    @property
    def _everywhere(self) -> bool:
        return self.bundle.manifest.model.everywhere

    def _wanted(self, steps: int | None, seed: int, strength: float, with_prior: bool, with_mask: bool) -> "_Wanted":
        table = self.bundle.table(steps)
        check_strength(strength)
        return _Wanted(table, seed, strength, with_prior, with_mask)

    def _long_side(self, working_size: int | None, native: bool) -> int | None:
        """The long side in pixels at which the networks run, None = the photo's own."""
        if native and working_size is not None:
            raise RestoreError(f"native means the photo's own size: leave out working size {working_size}")
        size = self.bundle.manifest.model.working_size if working_size is None else working_size
        if size < 1:
            raise RestoreError(f"working size {size} is too small: choose at least 1 pixel")
        return None if native else size

    def check(self) -> float:
        """Run the bundle's golden input and return the PSNR in dB against its golden output.

        Raises BundleError when the golden files are absent or unreadable, or the PSNR is below
        GOLDEN_TOLERANCE.
        """
        golden = read_golden(self.bundle)
        table = self.bundle.table(golden.steps)
        found = psnr(self.loop.restore(golden.image, golden.mask, table, [golden.seed]).image, golden.x)
        if not found >= GOLDEN_TOLERANCE:
            text = f"reproduces its golden output to {found:.1f} dB only, {GOLDEN_TOLERANCE:g} dB are needed"
            raise BundleError(f"bundle {self.bundle.path} {text}: results on this machine cannot be trusted")
        return found


def check_strength(strength: float) -> None:
    """Raise RestoreError unless a result can be that strong."""
    if not 0 <= strength <= 1:  # NaN is neither
        raise RestoreError(f"strength {strength:g} is out of range: choose 0 (nothing is changed) to 1")


@dataclass(frozen=True)
class _Wanted:
    """What is asked for of every photo."""

    table: list[Step]
    seed: int
    strength: float
    with_prior: bool
    with_mask: bool


_ABSENT = object()


def _paired(images: Iterable[Source], masks: Iterable[Source | None]) -> Iterator[tuple[Source, Source | None]]:
    for image, mask in zip_longest(images, masks, fillvalue=_ABSENT):
        if image is _ABSENT or mask is _ABSENT:
            which = "more" if image is _ABSENT else "fewer"
            raise RestoreError(f"there are {which} masks than photos: give one for each, None where there is none")
        yield image, mask  # type: ignore[misc]


def _together(
    photos: list[WorkingPhoto], loop: Loop, wanted: _Wanted, progress: Progress | None = None
) -> list[Restored]:
    """Photos of one working size through the networks, and each back to its own size."""
    started = perf_counter()
    planes = np.concatenate([photo.planes for photo in photos])
    masks = [photo.mask for photo in photos if photo.mask is not None]
    plane = np.concatenate(masks) if masks else None
    seeds = [wanted.seed] * len(photos)
    given = [photo.clean for photo in photos if photo.clean is not None]
    clean = np.concatenate(given) if given else None
    result = loop.restore(planes, plane, wanted.table, seeds, wanted.with_mask, progress, clean)
    each = (perf_counter() - started) / len(photos)
    return [p.restored(result, i, each, wanted.strength, wanted.with_prior) for i, p in enumerate(photos)]
