"""Degradation prior network D: sees the degraded photo and a mask, predicts the clean photo.

The network is the degradation model itself (ShadowDiffusion, CVPR 2023, supplement Eq. A) in linear light,

    y = h x,   h = 1 - (1 - w) m

with a one-channel matte m at full resolution and a three-channel illumination weight w that is smooth by
construction (predicted at stride 8 and enlarged bilinearly). The clean photo is y / h, so texture survives and an
edge cannot change its hue. w > 1 (exposure correction) is within reach. Where light that no shadow takes away lies over
the surface, a veil v as smooth as w (stray light in the lens, gloss), h changes only the rest: y = v + h (x - v). The
backbone is NAFNet-like (Chen et al., "Simple Baselines for Image Restoration", ECCV 2022) at half resolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shadowdiffusion.training.border_calibration import border_votes, consensus
from shadowdiffusion.training.color import to_linear, to_srgb
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.matte_level import at_level

RESIDUAL_THRESHOLD = 0.05  # the m* rule: a pixel this much darker than the clean photo is shadow
MATTE_THRESHOLD = 0.75  # of the predicted matte: where the network itself is sure of a shadow
LARGEST_VEIL = 0.03  # linear light
UNKNOWN_MASK = 0.5  # mask value that means "no mask known"


@dataclass(frozen=True)
class DegradationConfig:
    """Channels and blocks of the backbone; every encoder level halves the size and doubles the channels."""

    width: int = 32
    encoder: tuple[int, ...] = (1, 2, 4)
    middle: int = 5
    decoder: tuple[int, ...] = (2, 2, 1)
    min_log_weight: float = -4.0  # w >= e^-4 = 0.018
    max_log_weight: float = 1.5  # w <= 4.5
    veiled: bool = False  # some light is not the shadow's to take
    calibrated: bool = False  # what a shadow's border shows corrects the gain, and the matte of photos without a mask

    @property
    def multiple(self) -> int:
        """Height and width must be multiples of this many pixels."""
        return 2 * 2 ** len(self.encoder)


SMALL = DegradationConfig()


@dataclass(frozen=True)
class IlluminationForm:
    """h = clamp((y + photo_epsilon) / (x_hat + epsilon), floor, ceiling), images sRGB-encoded in [0, 1]."""

    epsilon: float = 1e-4  # keeps h finite on black pixels
    photo_epsilon: float = 1e-4
    floor: float = 0.01
    ceiling: float = 4.0

    def __post_init__(self) -> None:
        if not (self.epsilon > 0 <= self.photo_epsilon and 0 <= self.floor < self.ceiling < math.inf):
            raise TrainingError(f"{self} needs epsilon > 0, photo_epsilon >= 0 and 0 <= floor < ceiling")


CLAMPED = IlluminationForm()
AUTHORS = IlluminationForm(epsilon=5e-5, photo_epsilon=0.0, floor=0.0, ceiling=1e5)
"""h = y / (x_hat + 5e-5), as the authors' released code has it: in [0, 2e4], which neither bound cuts."""
FORMS = {"clamped": CLAMPED, "authors": AUTHORS}


class Degradation(NamedTuple):
    """What the network knows about a photo; all float32."""

    clean: Tensor  # [N, 3, H, W] in [0, 1]: x_hat
    log_gain: Tensor  # [N, 3, H, W]: log(1 / h) in linear light, of what lies under the veil
    matte: Tensor  # [N, 1, H, W] logits of m


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of every pixel of an [N, C, H, W] tensor (free of copies in channels-last)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """NAFNet block: gated depthwise convolution with channel attention, then a gated pointwise network."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.expand1 = nn.Conv2d(channels, 2 * channels, 1)
        self.depthwise = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.attention = nn.Conv2d(channels, channels, 1)
        self.project1 = nn.Conv2d(channels, channels, 1)
        self.norm2 = ChannelNorm(channels)
        self.expand2 = nn.Conv2d(channels, 2 * channels, 1)
        self.project2 = nn.Conv2d(channels, channels, 1)
        self.scale1 = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.scale2 = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.depthwise(self.expand1(self.norm1(x))).chunk(2, dim=1)
        gated = a * b
        gated = gated * self.attention(gated.mean(dim=(2, 3), keepdim=True))
        x = x + self.project1(gated) * self.scale1
        a, b = self.expand2(self.norm2(x)).chunk(2, dim=1)
        return x + self.project2(a * b) * self.scale2


def _stage(channels: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(Block(channels) for _ in range(blocks)))


class DegradationPrior(nn.Module):
    """D(y, mask) -> (x_hat, matte).

    Args of the call:
        image: float32[N, 3, H, W] in [0, 1], sRGB-encoded, H and W multiples of `config.multiple`.
        mask: float32[N, 1, H, W] in [0, 1], 1 = degraded; `UNKNOWN_MASK` everywhere when nobody knows it.
    """

    def __init__(self, config: DegradationConfig = SMALL) -> None:
        super().__init__()
        self.config = config
        levels = len(config.encoder)
        channels = [config.width * 2**i for i in range(levels + 1)]
        self.stem = nn.Conv2d(4 * 7, channels[0], 3, padding=1)
        self.encoder = nn.ModuleList(_stage(c, n) for c, n in zip(channels[:-1], config.encoder, strict=True))
        self.down = nn.ModuleList(nn.Conv2d(c, 2 * c, 2, stride=2) for c in channels[:-1])
        self.middle = _stage(channels[-1], config.middle)
        self.up = nn.ModuleList(nn.Conv2d(c, 2 * c, 1, bias=False) for c in reversed(channels[1:]))
        self.decoder = nn.ModuleList(_stage(c, n) for c, n in zip(reversed(channels[:-1]), config.decoder, strict=True))
        # the weight comes from the decoder's first stage: stride 8, with one level it is the only stage
        self.weight_head = nn.Conv2d(channels[levels - 1], 3, 3, padding=1)
        self.matte_head = nn.Conv2d(channels[0], 4, 3, padding=1)
        if config.veiled:
            self.veil_head = nn.Conv2d(channels[levels - 1], 3, 3, padding=1)
        if config.calibrated:
            self.trust = nn.Parameter(torch.full((1, 3, 1, 1), 0.9))  # in what the border asks for
        nn.init.zeros_(self.weight_head.weight)
        nn.init.zeros_(self.matte_head.weight)
        # begin near w = 0.3, m = 0.12, v = 0.002: most pixels are lit
        heads = [(self.weight_head, 0.0), (self.matte_head, -2.0)]
        if config.veiled:
            nn.init.zeros_(self.veil_head.weight)
            heads.append((self.veil_head, -2.6))
        for head, value in heads:
            assert head.bias is not None
            nn.init.constant_(head.bias, value)

    def estimate(self, image: Tensor, mask: Tensor) -> Degradation:
        """Clean photo together with the fields it is made of, for losses and inspection."""
        linear = to_linear(image)
        # shadows are offsets in log light: show the network the photo in both scales
        log_light = torch.log(linear + 0.01) / 4.6 + 1.0
        x = F.pixel_unshuffle(torch.cat([image - 0.5, log_light - 0.5, mask - 0.5], dim=1), 2)
        x = self.stem(x)
        skips = []
        for stage, down in zip(self.encoder, self.down, strict=True):
            x = stage(x)
            skips.append(x)
            x = down(x)
        x = self.middle(x)
        coarse = x
        for i, (up, stage) in enumerate(zip(self.up, self.decoder, strict=True)):
            x = stage(F.pixel_shuffle(up(x), 2) + skips.pop())
            if i == 0:
                coarse = x
        config = self.config
        span = config.max_log_weight - config.min_log_weight
        log_weight = config.min_log_weight + span * torch.sigmoid(self.weight_head(coarse))
        log_weight = self._enlarged(log_weight)
        matte = F.pixel_shuffle(self.matte_head(x), 2)
        shade = 1.0 - (1.0 - log_weight.exp()) * torch.sigmoid(matte)
        below = linear  # the veil
        if config.veiled:
            below = F.relu(linear - self._enlarged(LARGEST_VEIL * torch.sigmoid(self.veil_head(coarse))))
        if config.calibrated:
            votes = border_votes(below, -shade.log(), torch.sigmoid(matte))
            shade = (shade.log() * (1 + self.trust * consensus(*votes))).exp()
        clean = below / shade
        if config.veiled:
            clean = clean + (linear - below)
        return Degradation(to_srgb(clean.clamp(0.0, 1.0)), -shade.log(), matte)

    def _enlarged(self, coarse: Tensor) -> Tensor:
        """A field of the decoder's first stage at the photo's size."""
        scale = float(2 ** len(self.config.encoder))
        return F.interpolate(coarse, scale_factor=scale, mode="bilinear", align_corners=False)

    def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(x_hat float32[N, 3, H, W], matte float32[N, 1, H, W]), both in [0, 1]."""
        found = self.estimate(image, mask)
        matte = at_level(to_linear(image), found.matte, MATTE_THRESHOLD) if self.config.calibrated else found.matte
        return found.clean, torch.sigmoid(matte)


def mask_unknown(mask: Tensor) -> Tensor:
    """bool[N]: of which photos nobody knows the mask, float[N, 1, H, W]."""
    return (mask == UNKNOWN_MASK).flatten(1).all(1)


def found_mask(prior: DegradationPrior, image: Tensor) -> Tensor:
    """The mask of a photo without one, float[N, 1, H, W] of 0 and 1: where the prior is sure of a shadow.

    With it the photo is restored as if somebody had drawn it. image: as for the call of `DegradationPrior`.
    """
    _, matte = prior(image, torch.full_like(image[:, :1], UNKNOWN_MASK))
    return (matte >= MATTE_THRESHOLD).to(image.dtype)


def illumination(image: Tensor, clean: Tensor, form: IlluminationForm = CLAMPED) -> Tensor:
    """Pixel-wise illumination degradation h = y / x_hat (Eq. A solved for h), bounded as `form` says.

    Args:
        image: degraded photo y, float[N, 3, H, W] in [0, 1].
        clean: x_hat, same shape and range.
        form: what is added to both and the range of h.
    """
    return ((image + form.photo_epsilon) / (clean + form.epsilon)).clamp(form.floor, form.ceiling)


def residual_mask(image: Tensor, clean: Tensor) -> Tensor:
    """The m* rule of the authors' training code: 1 where mean_c(x - y) >= 0.05. Float [N, 1, H, W] of 0 and 1."""
    return ((clean - image).mean(dim=1, keepdim=True) >= RESIDUAL_THRESHOLD).to(image.dtype)
