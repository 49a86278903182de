"""What is recorded of one method on one photo: a line of JSON that says by itself how it came about."""

from __future__ import annotations

from typing import Literal

import msgspec

from shadowdiffusion.benchmarks.measurement.machine import Header
from shadowdiffusion.benchmarks.quality.metrics import Quality
from shadowdiffusion.training.layouts import LayoutName

MaskKind = Literal["given", "none", "whole", "unknown"]
"""What a method was told: where the shadow is, nothing, or that the whole photo is degraded."""


class Protocol(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How photos are compared.

    data: name of the folder. resize: side of the square to which results and truths are brought with MATLAB's bicubic
    `imresize`, None = native size, nothing is resized. lpips: which, or why there is none.
    """

    data: str
    layout: LayoutName
    split: str
    resize: int | None
    lpips: str
    psnr: str = "peak 1, over the whole photo; of a part, with the rest black in both"
    ssim: str = "scikit-image, uniform windows of 7 x 7, mean of the channels"
    lab: str = "mean absolute difference in CIELAB (D65), summed over the channels"


class BundleFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which bundle restored, and how. sha256: of its manifest, which holds the hashes of all its files.

    steps, working_size: None = the bundle's own.
    """

    name: str
    task: str
    created: str
    sha256: str
    steps: int | None
    working_size: int | None
    seed: int


class QualityRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One method on one photo, against one truth. seconds: of the method, None for results that were there before."""

    header: Header
    protocol: Protocol
    method: str
    bundle: BundleFacts | None
    photo: str
    subset: str
    mask: MaskKind
    seconds: float | None
    quality: Quality
    lpips: float | None
    format_version: Literal[1] = 1
