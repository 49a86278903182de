"""The loop in NumPy around the networks of any backend, in host memory."""

from collections.abc import Sequence
from functools import partial
from time import perf_counter

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from shadowdiffusion.runtime.bundle.folder import Bundle, Step
from shadowdiffusion.runtime.errors import RestoreError
from shadowdiffusion.runtime.loop.loop import Progress, Working, pad
from shadowdiffusion.runtime.loop.networks import Networks
from shadowdiffusion.runtime.loop.noise import gaussian
from shadowdiffusion.runtime.loop.prior_update import confident_mask, illumination
from shadowdiffusion.runtime.loop.sampler import sample

Array = npt.NDArray[np.float32]


class HostLoop:
    """`runtime.loop.loop.Loop` over the networks of one bundle."""

    def __init__(self, bundle: Bundle, networks: Networks) -> None:
        self.title = networks.title
        self.networks = networks
        self._bundle = bundle

    def restore(
        self,
        images: Array,
        masks: Array | None,
        table: Sequence[Step],
        seeds: Sequence[int],
        with_mask: bool = False,
        progress: Progress | None = None,
        clean: Array | None = None,
    ) -> Working:
        """As `Loop`. The images take turns: larger batches are no faster on a CPU, and rounding may differ."""
        total = len(images) * len(table)
        results = []
        for index, seed in enumerate(seeds):
            report = progress and partial(_report, progress, index * len(table), total)
            one = slice(index, index + 1)
            mask = None if masks is None else masks[one]
            given = None if clean is None else clean[one]
            results.append(self._restore_one(images[one], mask, table, seed, with_mask, report, given))
        return results[0] if len(results) == 1 else _joined(results)

    def _restore_one(
        self,
        image: Array,
        mask: Array | None,
        table: Sequence[Step],
        seed: int,
        with_mask: bool,
        progress: Progress | None,
        given: Array | None,
    ) -> Working:
        model, sampling = self._bundle.manifest.model, self._bundle.manifest.sampling
        height, width = image.shape[2:]
        y = pad(image, model.multiple)
        started = perf_counter()
        seen = self._find_mask(y) if mask is None else pad(mask, model.multiple)
        if given is not None:
            clean = pad(given, model.multiple)
            sampling = replace(sampling, data_consistency=True)
        else:
            clean = self.networks.prior(y, seen)[0] if self._bundle.has_prior else y
        h = illumination(y, clean, model.illumination)
        prior_done = perf_counter()

        def noise(step: int) -> Array:
            return gaussian(*y.shape[2:], seed=seed, step=step)[None]

        x, found = sample(self.networks.denoise, y, seen, h, clean, noise, sampling, table, progress, with_mask)
        x += 1
        x /= 2
        np.clip(x, 0, 1, out=x)
        ended = perf_counter()
        x, clean, h = (array[:, :, :height, :width] for array in (x, clean, h))
        found = None if found is None else found[:, :, :height, :width]
        return Working(x, clean, found, h, prior_done - started, ended - prior_done, used=self.networks.used)

    def _find_mask(self, y: Array) -> Array:
        """Where the prior, asked without a mask, is sure of a shadow: float32 [1, 1, h, w] of 0 and 1."""
        model = self._bundle.manifest.model
        if model.everywhere:
            return np.ones((1, 1, *y.shape[2:]), np.float32)
        if not self._bundle.has_prior:
            raise RestoreError("this bundle has no prior network to find the shadow with: give a mask")
        unknown = np.full((1, 1, *y.shape[2:]), model.blind_mask, np.float32)
        _, matte = self.networks.prior(y, unknown)
        return confident_mask(matte, model.matte_threshold)


def _report(progress: Progress, before: int, total: int, done: int, _: int) -> None:
    progress(before + done, total)


def _joined(results: list[Working]) -> Working:
    """The results of single images as those of a batch."""
    masks = [result.mask for result in results if result.mask is not None]
    return Working(
        image=np.concatenate([result.image for result in results]),
        clean=np.concatenate([result.clean for result in results]),
        mask=np.concatenate(masks) if masks else None,
        illumination=np.concatenate([result.illumination for result in results]),
        prior_seconds=sum(result.prior_seconds for result in results),
        diffusion_seconds=sum(result.diffusion_seconds for result in results),
        used=results[0].used,
    )
