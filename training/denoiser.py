"""The denoiser: a U-Net that predicts the noise in x_t and, beside it, a refined shadow mask.

Layout of ShadowDiffusion (CVPR 2023): the U-Net of SR3 (Saharia et al. 2021) on the concatenation of degraded
photo, mask and x_t, plus a small convolutional mask head on the last full-resolution feature. `PAPER` is that
network. `patch=2` runs the same U-Net on 2x2 pixel patches (space to depth before the stem, depth to space
after both heads): the patching of "simple diffusion" (Hoogeboom et al. 2023), which lets it fit
a CPU: `SMALL`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shadowdiffusion.training.errors import TrainingError

IMAGE_CHANNELS = 3
INPUT_CHANNELS = 7  # degraded photo (3), mask (1), x_t (3), concatenated in this order


@dataclass(frozen=True)
class DenoiserConfig:
    """Shape of a `Denoiser`.

    base: width of the time embedding and unit of the channel counts.
    multipliers: channels of each level / base, finest level first; each level halves the resolution.
    blocks: residual blocks per encoder level (the decoder has one more per level).
    groups: GroupNorm groups; must divide base * multiplier at every level.
    attention: levels (0 = finest) whose residual blocks are each followed by self-attention. The middle of
        the network always has one attention, so () is the released layout.
    patch: side of the pixel patches the network works on.

    Raises TrainingError if the values do not describe a network.
    """

    base: int = 64
    multipliers: tuple[int, ...] = (1, 2, 4, 8)
    blocks: int = 2
    groups: int = 16
    attention: tuple[int, ...] = ()
    patch: int = 1

    def __post_init__(self) -> None:
        sizes = (self.base, self.blocks, self.groups, self.patch, *self.multipliers)
        if not self.multipliers or min(sizes) < 1:
            raise TrainingError(f"every size of a denoiser must be at least 1: {self}")
        if self.base < 4 or self.base % 2:
            raise TrainingError(f"denoiser base must be even and at least 4 (sines and cosines), not {self.base}")
        if any(width % self.groups for width in self.widths):
            raise TrainingError(f"denoiser groups {self.groups} must divide the channels of each level {self.widths}")
        if any(not 0 <= level < len(self.multipliers) for level in self.attention):
            raise TrainingError(f"denoiser attention {self.attention} must name levels 0..{len(self.multipliers) - 1}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of every level, finest first."""
        return tuple(self.base * multiplier for multiplier in self.multipliers)

    @property
    def multiple(self) -> int:
        """Image height and width must be multiples of this many pixels."""
        return self.patch * 2 ** (len(self.multipliers) - 1)


PAPER = DenoiserConfig()
"""The released network: 55.5 M parameters, 183 GMAC per step at 256x256."""

SMALL = DenoiserConfig(base=32, multipliers=(1, 2, 3, 5), blocks=1, groups=8, patch=2)
"""For CPUs of about four cores: 4.5 M parameters, 6.0 GMAC per step at 256x256."""

SIZES: dict[str, DenoiserConfig] = {"paper": PAPER, "small": SMALL}


class Attention(nn.Module):
    """Single-head self-attention over all pixels, scale 1/sqrt(C), plus the input: float[N, C, H, W]."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        # [N, C, H, W] -> [N, 1, H*W, C]: the fused kernels never hold the (H*W)^2 matrix of weights.
        parts = self.qkv(self.norm(x)).chunk(3, dim=1)
        query, key, value = (part.flatten(2).transpose(1, 2).unsqueeze(1) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return x + self.out(mixed.squeeze(1).transpose(1, 2).reshape(x.shape))


class ResidualBlock(nn.Module):
    """norm-SiLU-conv, plus the time embedding, norm-SiLU-conv, plus the input; then attention if asked for.

    x float[N, inputs, H, W], embedding float[N, time] -> float[N, outputs, H, W].
    """

    def __init__(self, inputs: int, outputs: int, time: int, groups: int, attention: bool = False) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time = nn.Linear(time, outputs)
        self.norm2 = nn.GroupNorm(groups, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.attention = Attention(outputs, groups) if attention else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x))) + self.time(embedding)[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return self.attention(h + self.skip(x))


class EncoderLevel(nn.Module):
    """The residual blocks of one resolution, then a strided convolution to the next one (None at the last).

    Returns every feature map it makes, in order: the decoder wants them all, and the last one goes on.
    """

    def __init__(self, blocks: list[ResidualBlock], down: nn.Conv2d | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.down = down

    def forward(self, x: Tensor, embedding: Tensor) -> list[Tensor]:
        features = []
        for block in self.blocks:
            x = block(x, embedding)
            features.append(x)
        if self.down is not None:
            features.append(self.down(x))
        return features


class DecoderLevel(nn.Module):
    """The residual blocks of one resolution, then nearest doubling and a convolution (None at the last).

    Each block takes one encoder feature map off the end of `skips`, which is thereby used up.
    """

    def __init__(self, blocks: list[ResidualBlock], up: nn.Conv2d | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.up = up

    def forward(self, x: Tensor, embedding: Tensor, skips: list[Tensor]) -> Tensor:
        for block in self.blocks:
            x = block(torch.cat([x, skips.pop()], dim=1), embedding)
        return x if self.up is None else self.up(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class TimeEmbedding(nn.Module):
    """Sinusoids of the raw timestep and a two-layer perceptron. t float[N] in [0, T) -> float[N, base]."""

    def __init__(self, base: int) -> None:
        super().__init__()
        self.frequencies = base // 2
        self.hidden = nn.Linear(base, 4 * base)
        self.out = nn.Linear(4 * base, base)

    def forward(self, t: Tensor) -> Tensor:
        # Phases reach 1000 radians, too many for half precision: they stay in float32 (float64 if given).
        t = t if t.dtype == torch.float64 else t.float()
        position = torch.arange(self.frequencies, dtype=t.dtype, device=t.device) / self.frequencies
        phase = t[:, None] * torch.exp(-math.log(1e4) * position)[None, :]
        waves = torch.cat([torch.sin(phase), torch.cos(phase)], dim=-1)
        return self.out(F.silu(self.hidden(waves.to(self.hidden.weight.dtype))))


class Denoiser(nn.Module):
    """(y, mask, x_t, t) -> (noise, mask).

    y: float[N, 3, H, W] in [-1, 1]; x_t: the same with noise; mask: float[N, 1, H, W] in [0, 1], 1 = shadow;
    t: float[N], the raw timestep. Returns the predicted noise float[N, 3, H, W] and the refined mask
    float[N, 1, H, W] in [0, 1]. H and W must be multiples of `config.multiple`, else TrainingError.
    """

    def __init__(self, config: DenoiserConfig = PAPER) -> None:
        super().__init__()
        self.config = config
        time, groups, area, last = config.base, config.groups, config.patch**2, len(config.widths) - 1
        self.embedding = TimeEmbedding(time)
        self.stem = nn.Conv2d(INPUT_CHANNELS * area, config.base, 3, padding=1)

        channels, skips = config.base, [config.base]
        encoder = []
        for level, width in enumerate(config.widths):
            blocks, attention = [], level in config.attention
            for _ in range(config.blocks):
                blocks.append(ResidualBlock(channels, width, time, groups, attention))
                channels = width
                skips.append(channels)
            down = nn.Conv2d(channels, channels, 3, stride=2, padding=1) if level < last else None
            if down is not None:
                skips.append(channels)
            encoder.append(EncoderLevel(blocks, down))
        self.encoder = nn.ModuleList(encoder)

        middle = [ResidualBlock(channels, channels, time, groups, attention) for attention in (True, False)]
        self.middle = nn.ModuleList(middle)

        decoder = []
        for level in range(last, -1, -1):
            blocks, attention, width = [], level in config.attention, config.widths[level]
            for _ in range(config.blocks + 1):
                blocks.append(ResidualBlock(channels + skips.pop(), width, time, groups, attention))
                channels = width
            up = nn.Conv2d(channels, channels, 3, padding=1) if level > 0 else None
            decoder.append(DecoderLevel(blocks, up))
        self.decoder = nn.ModuleList(decoder)

        self.noise_norm = nn.GroupNorm(groups, channels)
        self.noise_conv = nn.Conv2d(channels, IMAGE_CHANNELS * area, 3, padding=1)
        self.mask_convs = nn.ModuleList([nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3)])
        self.mask_out = nn.Conv2d(channels, area, 1)
        _initialise(self)

    def features(self, y: Tensor, mask: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The last feature map, which both heads read: float[N, widths[0], H / patch, W / patch]."""
        height, width, multiple = x_t.shape[-2], x_t.shape[-1], self.config.multiple
        if height % multiple or width % multiple:
            raise TrainingError(f"image is {width}x{height}, this denoiser needs multiples of {multiple}: pad it first")
        embedding = self.embedding(t)
        x = torch.cat([y, mask, x_t], dim=1)
        if self.config.patch > 1:
            x = F.pixel_unshuffle(x, self.config.patch)
        skips = [self.stem(x)]
        for level in self.encoder:
            skips.extend(level(skips[-1], embedding))
        x = skips[-1]
        for block in self.middle:
            x = block(x, embedding)
        for level in self.decoder:
            x = level(x, embedding, skips)
        return x

    def predict_noise(self, features: Tensor) -> Tensor:
        """Features -> predicted noise float[N, 3, H, W]."""
        noise = self.noise_conv(F.silu(self.noise_norm(features)))
        return F.pixel_shuffle(noise, self.config.patch) if self.config.patch > 1 else noise

    def predict_mask(self, features: Tensor) -> Tensor:
        """Features -> refined mask float[N, 1, H, W] in [0, 1]."""
        for conv in self.mask_convs:
            features = F.relu(conv(features))
        mask = self.mask_out(features)
        mask = F.pixel_shuffle(mask, self.config.patch) if self.config.patch > 1 else mask
        return torch.sigmoid(mask)

    def forward(self, y: Tensor, mask: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(y, mask, x_t, t)
        return self.predict_noise(features), self.predict_mask(features)


def _initialise(denoiser: Denoiser) -> None:
    """Variance-preserving weights; every residual block starts as its skip path, the predicted noise as zero.

    The zeros make the first steps equally stable at every width, which is what training from scratch needs.
    """
    for module in denoiser.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in denoiser.modules():
        if isinstance(module, ResidualBlock):
            nn.init.zeros_(module.conv2.weight)
        elif isinstance(module, Attention):
            nn.init.zeros_(module.out.weight)
    for module in denoiser.mask_convs.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    nn.init.zeros_(denoiser.noise_conv.weight)
