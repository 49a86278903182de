"""Every method on every photo of a set, compared with the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.measurement.machine import Header
from shadowdiffusion.benchmarks.quality.imresize import imresize
from shadowdiffusion.benchmarks.quality.methods import Method, Outcome, Photo
from shadowdiffusion.benchmarks.quality.metrics import Mask, quality
from shadowdiffusion.benchmarks.quality.perceptual import Distance
from shadowdiffusion.benchmarks.quality.record import Protocol, QualityRecord
from shadowdiffusion.benchmarks.quality.sheet import Sheet
from shadowdiffusion.training.datasets import read_mask, read_photo
from shadowdiffusion.training.layouts import Triplet

Pixels = NDArray[np.uint8]


def score(
    files: Sequence[Triplet],
    methods: Sequence[Method],
    header: Header,
    protocol: Protocol,
    distance: Distance | None,
    sheet: Sheet | None,
) -> Iterator[QualityRecord]:
    """Records as they are computed. A photo is restored once, however many truths it has.

    Raises BenchmarkError for results of another size, TrainingError for photos that cannot be read, RestoreError.
    """
    for _, truths in groupby(files, key=lambda pair: pair.degraded):
        pairs = list(truths)
        photo = _photo(pairs[0])
        clean = [read_photo(pair.clean) for pair in pairs]
        tiles = [(photo.name, photo.pixels)]
        for method in methods:
            for outcome in method.results(photo):
                for pair, truth in zip(pairs, clean, strict=True):
                    yield _record(header, protocol, method, photo, pair, outcome, truth, distance)
                if outcome.pixels is not photo.pixels:  # the input is there already
                    tiles.append((f"{method.name}, mask {outcome.mask}", outcome.pixels))
        if sheet is not None:
            whose = [pair.subset for pair in pairs] if len(pairs) > 1 else [""]
            sheet.add([*tiles, *((f"truth {who}".strip(), truth) for who, truth in zip(whose, clean, strict=True))])


def _photo(pair: Triplet) -> Photo:
    pixels = read_photo(pair.degraded)
    mask = None if pair.mask is None else read_mask(pair.mask, (pixels.shape[0], pixels.shape[1])) > 0.5
    return Photo(pair.name, pixels, mask)


def _record(
    header: Header,
    protocol: Protocol,
    method: Method,
    photo: Photo,
    pair: Triplet,
    outcome: Outcome,
    truth: Pixels,
    distance: Distance | None,
) -> QualityRecord:
    result, mask = outcome.pixels, photo.mask
    if protocol.resize is None and result.shape != truth.shape:
        sizes = f"{result.shape[1]} x {result.shape[0]} pixels and {pair.clean} {truth.shape[1]} x {truth.shape[0]}"
        raise BenchmarkError(f"{method.name} of {photo.name} has {sizes}: compare them with --resize 256")
    a, b = (_compared(pixels, protocol.resize) for pixels in (result, truth))
    if mask is not None and protocol.resize is not None:
        mask = _resized_mask(mask, protocol.resize)
    return QualityRecord(
        header,
        protocol,
        method.name,
        method.bundle,
        photo.name,
        pair.subset,
        outcome.mask,
        outcome.seconds,
        quality(a, b, mask),
        None if distance is None else distance(a, b),
    )


def _compared(pixels: Pixels, side: int | None) -> NDArray[np.float64]:
    """In [0, 1]; not clipped after resizing, as the field's scripts leave it."""
    values = pixels / 255
    return values if side is None else imresize(values, side, side)


def _resized_mask(mask: Mask, side: int) -> Mask:
    """As the field's scripts do: in 8 bits, and everything that is not black is shadow."""
    return imresize(mask.astype(np.uint8) * 255, side, side) > 0
