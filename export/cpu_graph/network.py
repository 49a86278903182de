"""A network as what the CPU kernels can do: convolutions with all that is around them, attention, blocks of NAFNet, and
what is before and after the network of a degradation prior.

Values are feature maps. Their channels lie in memory in multiples of `LANES`, with gaps that hold zeros, so that a
concatenation is nothing but two maps side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

LANES = 16
"""Channels come in multiples of this many, the widest vector of float32."""

Activation = Literal["none", "relu", "silu"]
Floats = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]


def padded(channels: int) -> int:
    """The multiple of LANES that holds so many channels."""
    return -(-channels // LANES) * LANES


@dataclass(eq=False)
class FeatureMap:
    """channels: that mean something. shrink: the image's side over the map's. parts: the maps side by side that this
    is, if it is a concatenation. split: into how many maps of its own it is read, each from a multiple of LANES on.
    """

    channels: int
    shrink: Fraction
    parts: tuple[FeatureMap, ...] = ()
    split: int = 1

    @property
    def positions(self) -> Positions:
        """Where each channel lies."""
        if self.parts:
            starts = np.cumsum([0, *(part.width for part in self.parts)])
            return np.concatenate([part.positions + start for part, start in zip(self.parts, starts, strict=False)])
        own = self.channels // self.split
        return np.concatenate([np.arange(own) + index * padded(own) for index in range(self.split)])

    @property
    def width(self) -> int:
        """Channels with the gaps."""
        if self.parts:
            return sum(part.width for part in self.parts)
        return self.split * padded(self.channels // self.split)


@dataclass(frozen=True)
class Normalisation:
    """Group normalisation: scale and shift float32 [channels] after it."""

    groups: int
    epsilon: float
    scale: Floats
    shift: Floats


@dataclass(eq=False)
class Gather:
    """Inputs of the network, side by side, as a map: patches of patch x patch pixels become channels."""

    inputs: tuple[str, ...]
    patch: int
    to: FeatureMap


@dataclass(eq=False)
class Convolution:
    """to = weights * activation(normalisation(from)) + bias + row[row...] + plus.

    weights: float32 [outputs, inputs, kernel, kernel], with padding of 1 for kernels of 3x3. step: 1 or 2. doubled:
    pixels are repeated first. standardised: each pixel of the input first becomes (x - mean) / sqrt(variance + this)
    over its channels. patch: 2 if four channels of the outputs become one of a map of twice the size.
    """

    source: FeatureMap
    to: FeatureMap
    weights: Floats
    bias: Floats
    step: int = 1
    doubled: bool = False
    activation: Activation = "none"
    normalisation: Normalisation | None = None
    row: int | None = None
    plus: FeatureMap | None = None
    standardised: float | None = None
    patch: int = 1


@dataclass(eq=False)
class GatedDepthwise:
    """to = a * b: the halves of `source` after a convolution of 3x3 of each channel. weights: [channels, 1, 3, 3]."""

    source: FeatureMap
    to: FeatureMap
    weights: Floats
    bias: Floats


@dataclass(frozen=True)
class Linear:
    """A convolution of 1x1. weights: float32 [outputs, inputs]. bias: float32 [outputs]."""

    weights: Floats
    bias: Floats

    def scaled(self, factors: Floats) -> Linear:
        """The same with its outputs times `factors`, float32 [outputs]."""
        return Linear(self.weights * factors[:, None], self.bias * factors)

    def after(self, scale: Floats, shift: Floats) -> Linear:
        """The same with inputs that are first scaled and shifted, float32 [inputs] both."""
        return Linear(self.weights * scale[None], self.bias + self.weights @ shift)


@dataclass(eq=False)
class Pointwise:
    """s = plus + project(source * excitation(means of source's channels)), to = s + contract(a * b), where a and b are
    the halves of expand(s standardised over the channels of each pixel).
    """

    source: FeatureMap
    plus: FeatureMap
    to: FeatureMap
    excitation: Linear
    project: Linear
    expand: Linear
    contract: Linear
    epsilon: float


@dataclass(eq=False)
class Attention:
    """Single-head attention over all pixels; the thirds of `source` are query, key and value."""

    source: FeatureMap
    to: FeatureMap
    scale: float


@dataclass(eq=False)
class Light:
    """What a degradation prior sees, patches of patch x patch pixels as channels: the photo - 0.5, log(its linear light
    + 0.01) / 4.6 + 0.5, the mask - 0.5.
    """

    image: str
    mask: str
    patch: int
    to: FeatureMap


@dataclass(eq=False)
class Degradation:
    """The end of a `training.degradation.DegradationPrior`, from its heads: outputs `clean` and `shadow`, the matte.

    limits: of the logarithm of the weight. veil: None for priors without; thickest: its limit, in linear light. patch:
    of the matte's head. trust: float32 [3], None for priors that are not calibrated.
    """

    image: str
    weight: FeatureMap
    veil: FeatureMap | None
    matte: FeatureMap
    patch: int
    limits: tuple[float, float]
    thickest: float
    trust: Floats | None
    clean: str
    shadow: str


@dataclass(eq=False)
class Scatter:
    """A map as an output of the network, channels to patches; squashed: through the logistic function."""

    source: FeatureMap
    patch: int
    squashed: bool
    output: str


Step = Gather | Light | Convolution | GatedDepthwise | Pointwise | Attention | Degradation | Scatter


def maps_of(step: Step) -> list[FeatureMap]:
    """The maps of a step, parts included."""
    if isinstance(step, Gather | Light):
        found = [step.to]
    elif isinstance(step, Convolution):
        found = [step.source, step.to, *([step.plus] if step.plus else [])]
    elif isinstance(step, Pointwise):
        found = [step.source, step.plus, step.to]
    elif isinstance(step, Degradation):
        found = [step.weight, step.matte, *([step.veil] if step.veil else [])]
    elif isinstance(step, Scatter):
        found = [step.source]
    else:
        found = [step.source, step.to]
    return found + [part for item in found for part in item.parts]


@dataclass(frozen=True)
class Port:
    """An input or output: planes [channels, height / shrink, width / shrink] of an image."""

    channels: int
    shrink: Fraction


@dataclass
class Network:
    """row: values of the input that the time table gives, 0 without."""

    row: int = 0
    inputs: dict[str, Port] = field(default_factory=dict)
    outputs: dict[str, Port] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
