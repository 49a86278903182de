"""Real trajectories of the sampler: the whole loop on photos, and what the networks are given on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from shadowdiffusion.export.photos import Sample
from shadowdiffusion.export.precision.networks import Array, Feed, NotFinite, SessionNetworks
from shadowdiffusion.runtime.bundle.folder import Bundle, Sampling
from shadowdiffusion.runtime.loop.noise import gaussian
from shadowdiffusion.runtime.loop.prior_update import confident_mask, illumination
from shadowdiffusion.runtime.loop.sampler import sample as run_sampler

Progress = Callable[[float, str], None]


class Loop(NamedTuple):
    """One run of the loop: a photo, and whether its mask is given or has to be found."""

    sample: Sample
    blind: bool
    seed: int


class Restored(NamedTuple):
    """What a loop gives, float32 [1, C, H, W]: see the fields."""

    image: Array
    """About [0, 1], not clipped."""
    matte: Array
    """Where the prior found the shadow, in [0, 1]; the given mask if there was one."""
    refined: Array
    """The mask in [0, 1] that the denoiser returned last."""


def loops_of(samples: Sequence[Sample], bundle: Bundle) -> list[Loop]:
    """Every sample with its mask and, given a prior to find one, without."""
    kinds = (False, True) if bundle.has_prior else (False,)
    return [Loop(sample, blind, seed) for seed, sample in enumerate(samples) for blind in kinds]


def restore(
    networks: SessionNetworks, bundle: Bundle, loop: Loop, sampling: Sampling, matte: Array | None = None
) -> Restored:
    """What the runtime does with a working image, in the default steps of `sampling`. Raises NotFinite.

    matte: what the blind loop is to go on with instead of its own, as its mask is a threshold of it.
    """
    info, image = bundle.manifest.model, loop.sample.image
    mask = found = loop.sample.mask
    if loop.blind:
        found = networks.prior(image, np.full_like(mask, info.blind_mask))[1]
        mask = confident_mask(found if matte is None else matte, info.matte_threshold)
    clean = networks.prior(image, mask)[0] if bundle.has_prior else image
    h = illumination(image, clean, info.illumination)
    table = sampling.tables[str(sampling.default_steps)]
    size = image.shape[2:]
    noise: Callable[[int], Array] = lambda step: gaussian(*size, seed=loop.seed, step=step)[None]  # noqa: E731
    x, refined = run_sampler(networks.denoise, image, mask, h, clean, noise, sampling, table)
    assert refined is not None
    restored: Array = (x + np.float32(1)) / np.float32(2)
    if not np.isfinite(restored).all():
        raise NotFinite("the sampler")
    return Restored(restored, found, refined)


def trajectories(
    networks: SessionNetworks, bundle: Bundle, loops: Sequence[Loop], progress: Progress
) -> dict[str, list[Feed]]:
    """The inputs of every call of every network in the loops, all steps, by file name; `networks` must record."""
    record = networks.record
    assert record is not None
    record.clear()
    for index, loop in enumerate(loops):
        progress(index / len(loops), f"trajectory on {loop.sample.name}")
        restore(networks, bundle, loop, bundle.manifest.sampling)
    return {name: [feed for file, feed in record if file == name] for name in networks.sessions}


def fewer_steps(sampling: Sampling, most: int) -> Sampling:
    """The same sampling in at most `most` steps, if the bundle has such a table."""
    few = [steps for steps in sampling.supported_steps if steps <= most]
    steps = min(sampling.default_steps, max(few, default=sampling.default_steps))
    return msgspec.structs.replace(sampling, default_steps=steps)
