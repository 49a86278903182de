"""Where the time of a restoration goes: every part alone, timed in turns with the whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from shadowdiffusion.benchmarks.baselines.setting import Array, Setting
from shadowdiffusion.benchmarks.latency.ablation import restoring
from shadowdiffusion.runtime.bundle.folder import Step
from shadowdiffusion.runtime.gain.brightening import brighten
from shadowdiffusion.runtime.gain.illumination import log_gain
from shadowdiffusion.runtime.gain.resizing import reduced
from shadowdiffusion.runtime.loop.loop import Loop
from shadowdiffusion.runtime.loop.noise import gaussian
from shadowdiffusion.runtime.loop.prior_update import confident_mask, illumination
from shadowdiffusion.runtime.loop.sampler import sample

WHOLE = "whole loop"


class Part(NamedTuple):
    """A part before it is timed."""

    title: str
    times: int
    in_loop: bool
    run: Callable[[], object]


def parts(setting: Setting, loop: Loop, photo: npt.NDArray[Any]) -> dict[str, Part]:
    """Everything that a restoration of the setting's first image consists of, by name, and the whole loop.

    photo: uint8 [H, W, 3], on which the parts at full size work.
    """
    bundle, networks = setting.subject.bundle, loop.networks
    model, sampling = bundle.manifest.model, bundle.manifest.sampling
    y, mask, table = setting.images[:1], setting.masks[:1], list(setting.table)
    blind = np.full_like(mask, model.blind_mask)
    clean, _ = networks.prior(y, mask)
    h = illumination(y, clean, model.illumination)
    signed, start = 2 * y - 1, setting.noise[:1]
    predicted, _ = networks.denoise(signed, mask, start, table[0], False)

    def denoise(y: Array, mask: Array, x_t: Array, step: Step, with_mask: bool) -> tuple[Array, Array | None]:
        return predicted.copy(), None

    def arithmetic() -> object:
        return sample(denoise, y, mask, h, clean, lambda step: start.copy(), sampling, table, with_mask=False)

    small = reduced(photo, setting.images.shape[2])
    gain = log_gain(small, np.clip(1.3 * small, 0, 1))
    steps = len(table)
    return {
        WHOLE: Part("the loop at the working size, mask given", 1, False, restoring(_one(setting), loop)),
        "prior": Part("the prior, with the mask", 1, True, lambda: networks.prior(y, mask)),
        "illumination": Part("the map h = y / clean", 1, True, partial(illumination, y, clean, model.illumination)),
        "noise": Part("the start state, Philox", 1, True, partial(gaussian, *y.shape[2:], seed=0, step=0)),
        "denoiser step": Part(
            "one evaluation, noise alone", steps, True, lambda: networks.denoise(signed, mask, start, table[0], False)
        ),
        "step arithmetic": Part("all steps without the network, together", 1, True, arithmetic),
        "denoiser step with mask": Part(
            "one evaluation, noise and mask", 0, False, lambda: networks.denoise(signed, mask, start, table[-1], True)
        ),
        "mask finding": Part(
            "the prior without a mask, and its threshold",
            0,
            False,
            lambda: confident_mask(networks.prior(y, blind)[1], model.matte_threshold),
        ),
        "reduce": Part("the photo to the working size", 1, False, partial(reduced, photo, setting.images.shape[2])),
        "full size": Part("the gain carried to the photo", 1, False, partial(brighten, photo, small, gain, 1.0)),
    }


def _one(setting: Setting) -> Setting:
    """The same with its first image alone."""
    return replace(setting, images=setting.images[:1], masks=setting.masks[:1], seeds=setting.seeds[:1])
