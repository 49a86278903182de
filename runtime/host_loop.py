"""The loop in NumPy around the networks of any backend, in host memory."""

from collections.abc import Sequence
from time import perf_counter

import numpy as np
import numpy.typing as npt

from runtime.bundle import Bundle, Step
from runtime.errors import RestoreError
from runtime.loop import Progress, Working, pad
from runtime.networks import Networks
from runtime.noise import gaussian
from runtime.prior_update import confident_mask, illumination
from runtime.sampler import sample

Array = npt.NDArray[np.float32]


class HostLoop:
    """`runtime.loop.Loop` over the networks of one bundle."""

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
    ) -> Working:
        """As `Loop`."""
        model, sampling = self._bundle.manifest.model, self._bundle.manifest.sampling
        height, width = images.shape[2:]
        y = pad(images, model.multiple)
        started = perf_counter()
        seen = self._find_masks(y) if masks is None else pad(masks, model.multiple)
        clean = self.networks.prior(y, seen)[0] if self._bundle.has_prior else y
        h = illumination(y, clean, model.illumination)
        prior_done = perf_counter()

        def noise(step: int) -> Array:
            return np.stack([gaussian(*y.shape[2:], seed=seed, step=step) for seed in seeds])

        x, found = sample(self.networks.denoise, y, seen, h, clean, noise, sampling, table, progress, with_mask)
        x += 1
        x /= 2
        np.clip(x, 0, 1, out=x)
        ended = perf_counter()
        x, clean, h = (array[:, :, :height, :width] for array in (x, clean, h))
        found = None if found is None else found[:, :, :height, :width]
        return Working(x, clean, found, h, prior_done - started, ended - prior_done)

    def _find_masks(self, y: Array) -> Array:
        """Where the prior, asked without a mask, is sure of a shadow: float32 [N, 1, h, w] of 0 and 1."""
        if not self._bundle.has_prior:
            raise RestoreError("this bundle has no prior network to find the shadow with: give a mask")
        model = self._bundle.manifest.model
        unknown = np.full((y.shape[0], 1, *y.shape[2:]), model.blind_mask, np.float32)
        _, matte = self.networks.prior(y, unknown)
        return confident_mask(matte, model.matte_threshold)
