"""Synthetic shadows by the degradation model: clean photo -> (shadowed photo, mask as a user would draw it, truth).

y = h x in linear light with h = 1 - (1 - w) m (ShadowDiffusion, supplement Eq. A). The matte m comes from an
occluder's distance field with a penumbra whose width varies along the edge. The illumination weight w covers what
was measured on real shadows: 0.06 to 0.75, deep ones bluer than the sun's light (blue 1 to 2.1 times red). A camera
follows: tone curve, sensor noise, eight bits, sometimes JPEG.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from shadowdiffusion.training.camera import Curve, Pair, save_pixels
from shadowdiffusion.training.silhouettes import Field, Grid, draw, smooth_noise


class ShadowConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ranges of the generator; depths are linear-light weights w."""

    deepest: float = 0.06
    faintest: float = 0.75
    bluest: float = 2.1  # w of blue over w of red
    blue_share: float = 0.7  # of shadows lit by the sky; the rest are nearly neutral
    veil: float = 0.012  # upper bound of the veil of linear light that no shadow takes away
    soft: float = 0.5  # probability that part of a penumbra is several times as wide
    contrast: float = 0.5  # upper bound of the camera's contrast, see `Curve`
    several: float = 0.25  # probability of each further shadow, three at most
    none: float = 0.06  # probability of no shadow at all
    unknown_mask: float = 0.4  # probability that the mask is withheld (0.5 everywhere)
    noise: float = 0.012  # upper bound of the sensor noise's standard deviation in linear light
    jpeg: float = 0.5  # probability of JPEG compression


def penumbra(rng: np.random.Generator, distance: Field, pixel: float, soft: float) -> Field:
    """Matte in [0, 1] from a signed distance: a smooth step whose width varies along the edge.

    Args:
        distance: float32[H, W], negative inside, in units of the longer side.
        pixel: size of a pixel in the same units; no edge is sharper than about 1.2 pixels.
        soft: probability that a part of the step is wider than the rest: what takes away the sun's light also takes
            away some of the sky's around it.
    """
    shape = distance.shape
    narrow = float(np.exp(rng.uniform(np.log(0.6), np.log(6.0)))) * pixel
    wide = narrow * float(np.exp(rng.uniform(0, np.log(8.0))))
    # contact to tip: the penumbra opens along a direction, with some irregularity
    ramp = 0.5 + 0.5 * smooth_noise(rng, shape, int(rng.integers(1, 4)))
    half = np.minimum(narrow + (wide - narrow) * ramp, 0.12)
    # the penumbra of the sun is steep in the middle with soft toes, like this polynomial
    matte = _step(distance, half)
    if rng.random() < soft:
        share = float(rng.uniform(0.05, 0.35))
        matte += share * (_step(distance, np.minimum(half * float(rng.uniform(2, 5)), 0.2)) - matte)
    return matte


def _step(distance: Field, half: Field) -> Field:
    """From 1 inside to 0 outside over twice `half`, same units as `distance`."""
    s = np.clip(0.5 - distance / (2 * half), 0, 1)
    return (s * s * (3 - 2 * s)).astype(np.float32)


def illumination_weight(rng: np.random.Generator, config: ShadowConfig, shape: tuple[int, int]) -> NDArray[np.float32]:
    """w: float32[H, W, 3], light left inside the shadow, slowly varying over the picture."""
    red = float(np.exp(rng.uniform(np.log(config.deepest), np.log(config.faintest))))
    if rng.random() < config.blue_share:
        # the deeper the shadow, the larger the sky's part in it
        tint = 1 + (config.bluest - 1) * float(rng.beta(1.4, 2.0)) * min(1.0, -np.log(red) / 1.2)
    else:
        tint = float(rng.uniform(0.92, 1.12))
    middle = float(rng.uniform(0.3, 0.6))
    weight = np.array([red, red * tint**middle, red * tint], np.float32)
    weight = np.minimum(weight * np.exp(rng.normal(0, 0.02, 3)), 0.95).astype(np.float32)
    drift = float(rng.uniform(0, 0.25)) * smooth_noise(rng, shape, int(rng.integers(1, 4)))
    return np.clip(weight * np.exp(drift)[..., None], 0.02, 0.97).astype(np.float32)


def drawn_mask(rng: np.random.Generator, config: ShadowConfig, matte: Field) -> Field:
    """The mask as it would be given: cut somewhere in the penumbra, a little too large or small, soft, or unknown."""
    if rng.random() < config.unknown_mask:
        return np.full_like(matte, 0.5)
    level = float(rng.uniform(0.05, 0.9))
    mask = (matte > level).astype(np.float32)
    if rng.random() < 0.5:
        mask = _shift_edge(mask, int(rng.integers(-3, 4)))
    if rng.random() < 0.2:
        mask = _blur(mask, int(rng.integers(1, 4)))
    return mask


def _shift_edge(mask: Field, pixels: int) -> Field:
    """Dilate (positive) or erode (negative) by a square of that many pixels."""
    grown = mask if pixels >= 0 else 1 - mask
    for axis in (0, 1):
        padded = np.pad(grown, [(abs(pixels), abs(pixels)) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        grown = np.lib.stride_tricks.sliding_window_view(padded, 2 * abs(pixels) + 1, axis).max(-1)
    return (grown if pixels >= 0 else 1 - grown).astype(np.float32)


def _blur(field: Field, radius: int) -> Field:
    """Box blur, edges replicated."""
    for axis in (0, 1):
        padded = np.pad(field, [(radius, radius) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        field = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1, axis).mean(-1)
    return field.astype(np.float32)


def cast_shadow(rng: np.random.Generator, clean: NDArray[np.float32], config: ShadowConfig) -> Pair:
    """Throw random shadows on a clean photo.

    Args:
        clean: float32[H, W, 3] in [0, 1], sRGB-encoded.
    """
    height, width = clean.shape[:2]
    shape = (height, width)
    grid = Grid.of(height, width)
    light = np.ones((height, width, 3), np.float32)
    lit = np.ones(shape, np.float32)
    if rng.random() >= config.none:
        count = 1 + int((rng.random(2) < config.several).sum())
        weight = illumination_weight(rng, config, shape)
        for _ in range(count):
            matte = penumbra(rng, draw(rng, grid), 1 / max(shape), config.soft)
            matte = matte * float(rng.uniform(0.85, 1.0) if rng.random() < 0.3 else 1.0)
            # overlapping occluders of one sun take away the same light once
            lit = np.minimum(lit, 1 - matte)
        light = 1 - (1 - weight) * (1 - lit)[..., None]
    matte = 1 - lit
    degraded = camera(rng, clean, light, config)
    return Pair(degraded, clean, drawn_mask(rng, config, matte), matte)


def camera(
    rng: np.random.Generator, clean: NDArray[np.float32], light: NDArray[np.float32], config: ShadowConfig
) -> NDArray[np.float32]:
    """Photograph the clean scene under `light`: the tone curve of some camera, noise, 8 bits, sometimes JPEG.

    `clean` is what that camera shows of the unshadowed scene, so the curve is undone, the light changed, and the
    curve applied again; a curve other than sRGB's makes the apparent gain depend on brightness, as in real photos.
    """
    exponent = float(rng.uniform(1.9, 2.6)) if rng.random() < 0.5 else 0.0
    curve = Curve(exponent, contrast=float(rng.uniform(0, config.contrast)) if rng.random() < 0.5 else 0.0)
    scene = curve.decode(clean)
    linear = scene + np.maximum(scene - veil(rng, config), 0) * (light - 1)
    sigma = config.noise * float(rng.random()) ** 2
    noisy = linear + rng.standard_normal(linear.shape, dtype=np.float32) * sigma * np.sqrt(linear + 0.01)
    return save_pixels(rng, curve.encode(np.clip(noisy, 0, 1)), config.jpeg)


def veil(rng: np.random.Generator, config: ShadowConfig) -> NDArray[np.float32]:
    """Linear light [3] that lies over everything, in shadow as outside: the lens's stray light, gloss of the surface.

    On the nine photographed pairs of docs/quality.md light x becomes a x + (1 - a) b in a shadow, with b from 0.002 to
    0.005 in red, 0.3 to 0.7 of that in blue: black print keeps about three times the part of its light that the white
    around it keeps.
    """
    red = config.veil * float(np.exp(rng.uniform(np.log(0.03), 0)))
    return np.array([red, red * rng.uniform(0.5, 1.1), red * rng.uniform(0.25, 1.1)], np.float32)
