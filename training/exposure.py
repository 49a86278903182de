"""Synthetic wrong exposure by the degradation model with m = 1 everywhere: y = h x, h < 1 too dark, h > 1 too bright.

The clean photo is first brought to the exposure that a photographer would have chosen, because "well exposed" is
something absolute that the network has to learn: mean brightness near the middle, and the contrast of photographs
that nobody has edited. Then the shutter is another: the camera's curve is undone, light multiplied by 2^EV and tinted,
noise added, and the same curve applied again, which clips what became too bright. (ShadowDiffusion, supplement,
sections on low-light enhancement and exposure correction.)
"""

from __future__ import annotations

import msgspec
import numpy as np

from shadowdiffusion.training.camera import Curve, Pair, Picture, save_pixels


class ExposureConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ranges of the generator. Low light is the same with `brightest` below 0."""

    darkest: float = -4.0  # EV
    brightest: float = 3.5  # EV
    mean: float = 0.46  # brightness of a well exposed photo, sRGB-encoded (118 of 255)
    mean_spread: float = 0.05  # standard deviation over photos
    contrast: float = 0.34  # standard deviation of the pixels of a well exposed photo
    contrast_spread: float = 0.06
    noise: float = 0.02  # upper bound of the sensor noise's standard deviation at light 1, where it is least visible
    cast: float = 0.03  # standard deviation of log white balance; it doubles at -3 EV
    jpeg: float = 0.5  # probability of JPEG compression

    def __post_init__(self) -> None:
        if not self.darkest <= self.brightest:
            raise ValueError("darkest <= brightest must hold")


def well_exposed(rng: np.random.Generator, photo: Picture, config: ExposureConfig) -> Picture:
    """The photo with a random mean and contrast near the configured ones, and other saturation; no pixel clips anew.

    Brightness changes as logit(v) -> a logit(v) + b: an S-curve with toe and shoulder that never leaves [0, 1].
    """
    grey = photo.mean(-1, keepdims=True)
    photo = grey + (photo - grey) * np.float32(rng.uniform(0.4, 1.1))
    mean = float(np.clip(rng.normal(config.mean, config.mean_spread), 0.2, 0.7))
    contrast = max(float(rng.normal(config.contrast, config.contrast_spread)), 0.08)
    inside = np.clip(photo, 1 / 512, 1 - 1 / 512)
    logit = np.log(inside / (1 - inside))
    # a flat picture is not stretched into a contrasty one
    slope = float(np.clip(contrast / max(float(grey.std()), 0.02), 0.7, 2.5))

    low, high = -20.0, 20.0
    for _ in range(12):
        middle = (low + high) / 2
        if float(_sigmoid(slope * logit + middle).mean()) < mean:
            low = middle
        else:
            high = middle
    return _sigmoid(slope * logit + (low + high) / 2)


def _sigmoid(x: Picture) -> Picture:
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)


def camera_curve(rng: np.random.Generator) -> Curve:
    """Tone curve of some camera: half of them plain, the other half with a film-like shoulder and S."""
    exponent = float(rng.uniform(1.9, 2.6)) if rng.random() < 0.5 else 0.0
    if rng.random() < 0.5:
        return Curve(exponent)
    return Curve(exponent, white=float(np.exp(rng.uniform(0, np.log(6.0)))), contrast=float(rng.uniform(0, 0.8)))


def misexpose(rng: np.random.Generator, photo: Picture, config: ExposureConfig) -> Pair:
    """Photograph a scene with the right exposure and with a wrong one.

    Args:
        photo: float32[H, W, 3] in [0, 1], sRGB-encoded, of any exposure.
    """
    clean = well_exposed(rng, photo, config)
    curve = camera_curve(rng)
    ev = float(rng.uniform(config.darkest, config.brightest))
    dark = max(-ev, 0.0)
    tint = np.exp(rng.normal(0, config.cast * (1 + dark / 3), 3)).astype(np.float32)
    light = curve.decode(clean) * (np.float32(2**ev) * tint)
    # of what the sensor lacks in light, the amplifier makes up for a random part, and noise with it
    sigma = config.noise * float(rng.random()) ** 2 * 2 ** (dark / 2 * float(rng.random()))
    light += rng.standard_normal(light.shape, dtype=np.float32) * np.float32(sigma) * np.sqrt(light + np.float32(0.002))
    degraded = save_pixels(rng, curve.encode(light), config.jpeg)
    everywhere = np.ones(clean.shape[:2], np.float32)
    return Pair(degraded, clean, everywhere, everywhere)
