"""Training samples: clean photos degraded on the fly, and photographed pairs.

A dataset is a pure function of (seed, index): sample i is the same whatever the number of workers or processes and
whether training was interrupted, which is what makes a resumed loss curve equal to an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypedDict

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shadowdiffusion.training.camera import Pair
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.exposure import ExposureConfig, misexpose
from shadowdiffusion.training.layouts import Triplet, photos_in
from shadowdiffusion.training.shadows import ShadowConfig, cast_shadow


class Sample(TypedDict):
    """One crop, or a batch of them with a leading dimension; float32 in [0, 1], images sRGB-encoded."""

    image: Tensor  # [3, H, W] degraded
    clean: Tensor  # [3, H, W]
    mask: Tensor  # [1, H, W], 0.5 everywhere = unknown
    matte: Tensor  # [1, H, W] true shadow matte


class Dataset(Protocol):
    """What the training loop needs of its data."""

    def sample(self, index: int) -> Sample: ...


class CropConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How crops are cut.

    A crop of `size` pixels is cut from the photo scaled so that its long side is between `smallest_side` and
    `largest_side` (never enlarged more than 1.5 times).
    """

    size: int = 192
    smallest_side: int = 256
    largest_side: int = 560
    turned: float = 0.3  # probability of a crop that does not stand upright
    recolour: float = 0.7  # probability of changed exposure, tone and saturation
    composite: float = 0.25  # probability of a second photo behind a hard edge: edges that are not shadows


def read_photo(path: Path) -> NDArray[np.uint8]:
    """Photo as uint8[H, W, 3], sRGB, upright."""
    import pyvips

    try:
        image = pyvips.Image.new_from_file(str(path), fail_on="error").autorot()
        if image.hasalpha():
            image = image.flatten(background=255)
        return np.asarray(image.colourspace("srgb").cast("uchar").numpy(), dtype=np.uint8)[..., :3]
    except pyvips.Error as error:
        reason = str(error).strip().splitlines()[-1]
        raise TrainingError(f"cannot read photo {path}: {reason}") from None


def _to_tensor(image: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1) if image.ndim == 3 else image[None]))


def as_sample(pair: Pair) -> Sample:
    """The pair as tensors, channels first."""
    return Sample(
        image=_to_tensor(pair.degraded),
        clean=_to_tensor(pair.clean),
        mask=_to_tensor(pair.mask),
        matte=_to_tensor(pair.matte),
    )


def _crop(rng: np.random.Generator, photo: NDArray[np.uint8], config: CropConfig) -> NDArray[np.float32]:
    """Random crop [size, size, 3] in [0, 1] at a random scale, flipped and turned at random."""
    import pyvips

    height, width = photo.shape[:2]
    scale = float(rng.uniform(config.smallest_side, config.largest_side)) / max(height, width)
    scale = min(max(scale, config.size / min(height, width)), max(1.5, config.size / min(height, width)))
    side = min(round(config.size / scale), height, width)
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    region = pyvips.Image.new_from_array(np.ascontiguousarray(photo[top : top + side, left : left + side]))
    crop = region.thumbnail_image(config.size, height=config.size, size="force").numpy()
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    turned = config.turned / 3
    crop = np.rot90(crop, int(rng.choice(4, p=(1 - config.turned, turned, turned, turned))))
    return crop.astype(np.float32) / np.float32(255)


def _recolour(rng: np.random.Generator, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Other exposure, tone curve, white balance and saturation, as if another camera had taken the photo."""
    image = image ** np.float32(np.exp(rng.normal(0, 0.25)))
    image = image * np.float32(np.exp(rng.uniform(-0.9, 0.15)))
    image = image * np.exp(rng.normal(0, 0.04, 3)).astype(np.float32)
    grey = image.mean(-1, keepdims=True)
    image = grey + (image - grey) * np.float32(rng.uniform(0.5, 1.3))
    return np.clip(image, 0, 1)


@dataclass(frozen=True)
class SyntheticPairs:
    """Clean photos of one folder with shadows or a wrong exposure made on the fly.

    `groups` weights the draw by the part of the file name before the first `_` (a folder's sources); files of other
    groups share what is left of 1. Empty: every file alike.
    """

    folder: Path
    seed: int
    crop: CropConfig = field(default_factory=CropConfig)
    degradation: ShadowConfig | ExposureConfig = field(default_factory=ShadowConfig)
    groups: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        files = photos_in(self.folder)
        names = np.array([f.name.split("_")[0] for f in files])
        share = np.zeros(len(files))
        for group, weight in self.groups.items():
            members = names == group
            share[members] = weight / max(int(members.sum()), 1)
        others = ~np.isin(names, list(self.groups))
        if others.any():
            share[others] = max(1 - sum(self.groups.values()), 0.0) / int(others.sum())
        if share.sum() <= 0:
            raise TrainingError(f"group weights {dict(self.groups)} select no photo in {self.folder}")
        object.__setattr__(self, "_files", files)
        object.__setattr__(self, "_cumulative", np.cumsum(share / share.sum()))

    def _draw(self, rng: np.random.Generator) -> NDArray[np.float32]:
        files: list[Path] = self._files  # type: ignore[attr-defined]
        chosen = int(np.searchsorted(self._cumulative, rng.random()))  # type: ignore[attr-defined]
        crop = _crop(rng, read_photo(files[min(chosen, len(files) - 1)]), self.crop)
        return _recolour(rng, crop) if rng.random() < self.crop.recolour else crop

    def sample(self, index: int) -> Sample:
        """Sample number `index` of an endless stream."""
        from shadowdiffusion.training.silhouettes import Grid, draw

        rng = np.random.default_rng((self.seed, index))
        clean = self._draw(rng)
        if rng.random() < self.crop.composite:
            inside = draw(rng, Grid.of(*clean.shape[:2])) < 0
            clean = np.where(inside[..., None], self._draw(rng), clean)
        if isinstance(self.degradation, ExposureConfig):
            return as_sample(misexpose(rng, clean, self.degradation))
        # the truth of a camera is never finer than its 8 bits
        clean = np.round(clean * 255).astype(np.float32) / np.float32(255)
        return as_sample(cast_shadow(rng, clean, self.degradation))


def read_pair(files: Triplet, everywhere: bool = False, side: int | None = None) -> Pair:
    """A photographed pair at its native size; without a mask file the m* rule of the authors' code gives one.

    everywhere: the whole photo is degraded (low light, exposure): the mask is 1 whatever the files say.
    side: resize both photos to a square of so many pixels first, as the authors do.
    """
    degraded, clean = (read_photo(path).astype(np.float32) / np.float32(255) for path in (files.degraded, files.clean))
    if side is not None:
        degraded, clean = _resize(degraded, (side, side)), _resize(clean, (side, side))
    if degraded.shape != clean.shape:
        raise TrainingError(f"{files.degraded} and {files.clean} have different sizes")
    shape = (clean.shape[0], clean.shape[1])
    if everywhere:
        mask = np.ones(shape, np.float32)
    elif files.mask is None:
        mask = ((clean - degraded).mean(-1) >= 0.05).astype(np.float32)
    else:
        mask = read_mask(files.mask, shape)
    return Pair(degraded, clean, mask, mask)


def read_mask(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Mask as float32[H, W] in [0, 1], 1 = shadow, resized to `shape`: detected masks often are of another size."""
    return _resize(read_photo(path)[..., 0].astype(np.float32) / np.float32(255), shape)


@dataclass(frozen=True)
class PhotographedPairs:
    """Random crops of photographed pairs, resized to `resize` squared first as the authors do."""

    files: list[Triplet]
    seed: int
    size: int = 160
    resize: int = 256
    unknown_mask: float = 0.0
    everywhere: bool = False  # see `read_pair`

    def sample(self, index: int) -> Sample:
        """Sample number `index` of an endless stream; every pair is seen once per pass, in a shuffled order."""
        turn, place = divmod(index, len(self.files))
        order = np.random.default_rng((self.seed, turn)).permutation(len(self.files))
        rng = np.random.default_rng((self.seed, turn, place))
        pair = read_pair(self.files[int(order[place])], self.everywhere, self.resize)
        top, left = (int(v) for v in rng.integers(self.resize - self.size + 1, size=2))
        flip = -1 if rng.random() < 0.5 else 1
        window = (slice(top, top + self.size), slice(left, left + self.size))

        def cut(image: NDArray[np.float32]) -> NDArray[np.float32]:
            return image[window][:, ::flip]

        mask = cut(pair.mask)
        if rng.random() < self.unknown_mask:
            mask = np.full_like(mask, 0.5)
        return as_sample(Pair(cut(pair.degraded), cut(pair.clean), mask, cut(pair.matte)))


def _resize(image: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Bicubic with antialiasing; [H, W] or [H, W, C] in [0, 1]."""
    if image.shape[:2] == shape:
        return image
    tensor = torch.from_numpy(image)[None]
    tensor = tensor.permute(0, 3, 1, 2) if image.ndim == 3 else tensor[None]
    out = torch.nn.functional.interpolate(tensor, shape, mode="bicubic", antialias=True).clamp(0, 1)
    return np.ascontiguousarray(out[0].permute(1, 2, 0).numpy() if image.ndim == 3 else out[0, 0].numpy())
