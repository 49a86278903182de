"""The truth that every result is compared with: the float32 reference sampler of `training/`, image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shadowdiffusion.benchmarks.baselines.setting import Array
from shadowdiffusion.benchmarks.models.subject import Subject
from shadowdiffusion.runtime.bundle.folder import Step
from shadowdiffusion.runtime.loop.loop import Progress, Working, pad
from shadowdiffusion.runtime.loop.networks import Networks
from shadowdiffusion.runtime.loop.noise import gaussian
from shadowdiffusion.runtime.loop.prior_update import confident_mask
from shadowdiffusion.training.degradation import illumination
from shadowdiffusion.training.sampler import sample


class ReferenceLoop:
    """`runtime.loop.loop.Loop` by the reference sampler: nothing is shared with what is measured but the noise."""

    title = "the reference sampler"
    networks: Networks

    def __init__(self, subject: Subject, device: torch.device) -> None:
        self._subject, self._device = subject, device
        model = subject.model
        assert model.denoiser is not None
        assert model.prior is not None
        self._denoiser, self._prior = (deepcopy(each).to(device) for each in (model.denoiser, model.prior))

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
        """As `Loop`."""
        multiple, (height, width) = self._subject.bundle.manifest.model.multiple, images.shape[2:]
        padded = [None if each is None else pad(each, multiple) for each in (masks, clean)]
        images = pad(images, multiple)
        parts = []
        with torch.no_grad(), _full_precision():
            for index, seed in enumerate(seeds):
                one = slice(index, index + 1)
                mask, given = (None if each is None else each[one] for each in padded)
                parts.append(self._one(images[one], mask, given, len(table), seed))
        x, found, refined, h = (np.concatenate(arrays)[:, :, :height, :width] for arrays in zip(*parts, strict=True))
        return Working(np.clip((x + 1) / 2, 0, 1), found, refined if with_mask else None, h, 0.0, 0.0)

    def _one(
        self, image: Array, mask: Array | None, given: Array | None, steps: int, seed: int
    ) -> tuple[Array, Array, Array, Array]:
        model, options = self._subject.bundle.manifest.model, replace(self._subject.options, steps=steps)
        y = self._up(image)
        if mask is None:
            blind = torch.full_like(y[:, :1], model.blind_mask)
            found = np.ones_like(image[:, :1]) if model.everywhere else self._prior(y, blind)[1].cpu().numpy()
            mask = confident_mask(found, model.matte_threshold)
        seen = self._up(mask)
        clean = self._prior(y, seen)[0] if given is None else self._up(given)
        options = options if given is None else replace(options, data_consistency=True)
        h = illumination(y, clean, self._subject.model.illumination)
        noise, diffusion = self._noise(image, seed), self._subject.model.diffusion
        result = sample(self._denoiser, y, seen, h, clean, noise, options, diffusion)
        x, clean_array, refined, h_array = (part.cpu().numpy() for part in (result.x, clean, result.mask, h))
        return x, clean_array, refined, h_array

    def _noise(self, image: Array, seed: int) -> Callable[[int], Tensor]:
        return lambda step: self._up(gaussian(*image.shape[2:], seed=seed, step=step)[None])

    def _up(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self._device)


@contextmanager
def _full_precision() -> Iterator[None]:
    """No TF32 on a GPU, which would cost the truth 13 of its 23 bits."""
    flags: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [flag.allow_tf32 for flag in flags]
    try:
        for flag in flags:
            flag.allow_tf32 = False
        yield
    finally:
        for flag, value in zip(flags, before, strict=True):
            flag.allow_tf32 = value
