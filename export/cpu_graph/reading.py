"""An ONNX graph of a denoiser or mask head as a `Network`: its patterns are known by what they compute, not by names.

Every value of the graph is followed as what it means: a feature map, a map that is normalised or activated, a part of
the row for time, one of the factors of attention. What no rule covers means nothing, and is an error only where a
network needs it. Nobody has to trust these rules: whoever compiles compares the plan with the graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from shadowdiffusion.export.cpu_graph.blocks import BlockRules
from shadowdiffusion.export.cpu_graph.network import (
    Activation,
    Attention,
    Convolution,
    FeatureMap,
    Gather,
    Network,
    Normalisation,
    Port,
    Scatter,
    maps_of,
)
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes.convolution import doubling
from shadowdiffusion.export.passes.view import Values, View, attributes

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

ROW = "row"
UNSHUFFLED = [0, 1, 3, 5, 2, 4]
"""Axes of space-to-depth: [N, C, height, patch, width, patch] -> [N, C, patch, patch, height, width]."""


@dataclass(frozen=True)
class _Planes:
    """Inputs of the network, side by side; patched: space to depth."""

    names: tuple[str, ...]
    patched: bool = False


@dataclass(frozen=True)
class _Row:
    first: int
    count: int


@dataclass(frozen=True)
class _Prepared:
    """A map on its way into a convolution."""

    source: FeatureMap
    groups: int = 0
    epsilon: float = 0.0
    scale: Values | None = None
    shift: Values | None = None
    doubled: bool = False
    activation: Activation = "none"


@dataclass(frozen=True)
class _Squashed:
    """1 / (1 + e^-x) of something."""

    of: object


@dataclass(frozen=True)
class _Shuffled:
    """Depth to space."""

    source: FeatureMap
    patch: int


@dataclass(frozen=True)
class _Third:
    """One of the thirds of a map, as attention reads it: times `factor`."""

    source: FeatureMap
    index: int
    factor: float = 1.0


@dataclass(frozen=True)
class _Weights:
    """Of attention: query key^T `factor`, before or after the softmax."""

    source: FeatureMap
    factor: float
    normalised: bool = False


def read_network(model: ModelProto) -> Network:
    """The network of a float32 graph. Raises ExportError for what the kernels cannot do."""
    return _Reader(model).network


class _Reader:
    def __init__(self, model: ModelProto) -> None:
        self._view, self.network = View(model), Network()
        self._meaning: dict[str, object] = {}
        blocks = BlockRules(self._view, self.network, self._meaning).rules
        self._rules: dict[str, Callable[[NodeProto], object]] = {
            "Concat": self._concat,
            "Reshape": self._reshape,
            "Transpose": self._transpose,
            "Squeeze": self._same,
            "Unsqueeze": self._same,
            "Split": self._split,
            "InstanceNormalization": self._instances,
            "Mul": self._mul,
            "Add": self._add,
            "Sigmoid": lambda node: _Squashed(self._of(node, 0)) if self._of(node, 0) is not None else None,
            "Relu": self._relu,
            "Resize": self._resize,
            "Conv": self._conv,
            "MatMul": self._matmul,
            "Softmax": self._softmax,
            "DepthToSpace": self._shuffle,
        }
        for value in model.graph.input:
            sides = value.type.tensor_type.shape.dim
            if value.name == ROW:
                self.network.row = sides[1].dim_value
                self._meaning[ROW] = _Row(0, self.network.row)
            elif len(sides) == 4:
                self.network.inputs[value.name] = Port(sides[1].dim_value, Fraction(1))
                self._meaning[value.name] = _Planes((value.name,))
        for node in model.graph.node:
            rules = (group[node.op_type] for group in (blocks, self._rules) if node.op_type in group)
            found = next((value for rule in rules if (value := rule(node)) is not None), None)
            results = found if isinstance(found, list) else [found]
            self._meaning |= dict(zip(node.output, results, strict=False))
        for value in model.graph.output:
            self._output(value.name)
        self._measure_in_images()

    def _of(self, node: NodeProto, index: int) -> object:
        return self._meaning.get(node.input[index]) if index < len(node.input) else None

    def _constant(self, node: NodeProto, index: int) -> Values | None:
        return self._view.constant(node.input[index]) if index < len(node.input) else None

    def _pair(self, node: NodeProto) -> tuple[object, Values] | None:
        """What a sum or product has a meaning for, and the constant beside it."""
        for index in (0, 1):
            constant = self._constant(node, 1 - index)
            if constant is not None and self._of(node, index) is not None:
                return self._of(node, index), constant
        return None

    def _same(self, node: NodeProto) -> object:
        """Other axes of what attention reads or gives."""
        value = self._of(node, 0)
        return value if isinstance(value, FeatureMap | _Third) else None

    def _concat(self, node: NodeProto) -> object:
        values = [self._of(node, index) for index in range(len(node.input))]
        if attributes(node).get("axis") != 1:
            return None
        if planes := [value for value in values if isinstance(value, _Planes) and not value.patched]:
            return _Planes(tuple(name for value in planes for name in value.names)) if planes == values else None
        maps = tuple(value for value in values if isinstance(value, FeatureMap))
        if len(maps) != len(values) or len({part.shrink for part in maps}) != 1:
            return None
        return FeatureMap(sum(part.channels for part in maps), maps[0].shrink, maps)

    def _reshape(self, node: NodeProto) -> object:
        value, shape = self._of(node, 0), self._constant(node, 1)
        if isinstance(value, FeatureMap) and shape is not None and len(shape) == 3:  # [N, groups, ...] to be normalised
            return _Prepared(value, groups=int(shape[1]))
        return value if isinstance(value, FeatureMap | _Third | _Planes | _Row | _Prepared) else None

    def _transpose(self, node: NodeProto) -> object:
        value = self._of(node, 0)
        if isinstance(value, _Planes):
            return replace(value, patched=True) if attributes(node).get("perm") == UNSHUFFLED else None
        return self._same(node)

    def _split(self, node: NodeProto) -> object:
        value, count = self._of(node, 0), len(node.output)
        if attributes(node).get("axis", 0) != 1:
            return None
        if isinstance(value, _Row):
            widths = self._constant(node, 1)
            widths = np.full(count, value.count // count) if widths is None else widths
            starts = value.first + np.cumsum([0, *widths])
            return [_Row(int(start), int(width)) for start, width in zip(starts, widths, strict=False)]
        if isinstance(value, FeatureMap) and count == 3 and not value.parts:
            value.split = count
            return [_Third(value, index) for index in range(count)]
        return None

    def _instances(self, node: NodeProto) -> object:
        value, scale, shift = self._of(node, 0), self._constant(node, 1), self._constant(node, 2)
        if not isinstance(value, _Prepared) or scale is None or shift is None:
            return None
        if len(scale) != value.groups or (scale != 1).any() or (shift != 0).any():
            return None
        ones, zeros = np.ones(value.source.channels, np.float32), np.zeros(value.source.channels, np.float32)
        return replace(value, epsilon=float(attributes(node).get("epsilon", 1e-5)), scale=ones, shift=zeros)

    def _mul(self, node: NodeProto) -> object:
        a, b = self._of(node, 0), self._of(node, 1)
        for value, other in ((a, b), (b, a)):
            if isinstance(other, _Squashed) and other.of is value and value is not None:  # SiLU
                return replace(self._prepared(value), activation="silu") if self._plain(value) else None
        if (pair := self._pair(node)) is None:
            return None
        value, constant = pair
        if isinstance(value, _Third) and constant.size == 1:
            return replace(value, factor=value.factor * float(constant.item()))
        if isinstance(value, _Prepared) and value.scale is not None and value.shift is not None and self._plain(value):
            factors = _by_channel(constant, value.source.channels)
            return replace(value, scale=value.scale * factors, shift=value.shift * factors)
        return None

    def _add(self, node: NodeProto) -> object:
        a, b = self._of(node, 0), self._of(node, 1)
        if isinstance(a, FeatureMap) and isinstance(b, FeatureMap):
            return self._sum(node, a, b)
        for shuffled, other in ((a, b), (b, a)):
            if isinstance(shuffled, _Shuffled) and isinstance(other, FeatureMap):
                return self._patches(shuffled, other)
        for index, row in ((0, b), (1, a)):
            if isinstance(row, _Row):
                step = self._maker(node, index)
                if step is None or step.row is not None or row.count != step.to.channels:
                    return None
                step.row = row.first
                return step.to
        if (pair := self._pair(node)) is None:
            return None
        value, constant = pair
        if isinstance(value, _Prepared) and value.shift is not None and self._plain(value):
            return replace(value, shift=value.shift + _by_channel(constant, value.source.channels))
        return None

    def _sum(self, node: NodeProto, a: FeatureMap, b: FeatureMap) -> FeatureMap | None:
        """The later of two convolutions adds the other map to what it gives."""
        steps = [(self._maker(node, 0), b), (self._maker(node, 1), a)]
        free = [(step, other) for step, other in steps if step is not None and step.plus is None]
        if not free or a.channels != b.channels:
            return None
        step, other = max(free, key=lambda item: self.network.steps.index(item[0]))
        step.plus = other
        return step.to

    def _patches(self, shuffled: _Shuffled, other: FeatureMap) -> FeatureMap | None:
        """A convolution of 1x1 whose outputs are pixels of a larger map, which `other` is added to."""
        step = self._convolution(shuffled.source)
        to = FeatureMap(shuffled.source.channels // shuffled.patch**2, shuffled.source.shrink / shuffled.patch)
        if step is None or step.weights.shape[2:] != (1, 1) or step.step != 1 or step.doubled or step.row is not None:
            return None
        if step.plus is not None or to.channels != other.channels:
            return None
        step.to, step.patch, step.plus = to, shuffled.patch, other
        return to

    def _maker(self, node: NodeProto, index: int) -> Convolution | None:
        """The convolution whose result the node alone reads."""
        value = self._of(node, index)
        return self._convolution(value) if self._view.readers[node.input[index]] == 1 else None

    def _convolution(self, to: object) -> Convolution | None:
        return next((step for step in self.network.steps if isinstance(step, Convolution) and step.to is to), None)

    def _plain(self, value: object) -> bool:
        return isinstance(value, FeatureMap) or (isinstance(value, _Prepared) and value.activation == "none")

    def _prepared(self, value: object) -> _Prepared:
        assert isinstance(value, FeatureMap | _Prepared)
        return _Prepared(value) if isinstance(value, FeatureMap) else value

    def _relu(self, node: NodeProto) -> object:
        value = self._of(node, 0)
        return replace(self._prepared(value), activation="relu") if self._plain(value) else None

    def _resize(self, node: NodeProto) -> object:
        value = self._of(node, 0)
        readers = (user for user in self._view.maker.values() if user.input and user.input[0] == node.output[0])
        reader = next(readers, None)
        if not isinstance(value, FeatureMap) or reader is None or doubling(self._view, reader) is None:
            return None
        return _Prepared(value, doubled=True)

    def _conv(self, node: NodeProto) -> object:
        weights, bias = self._constant(node, 1), self._constant(node, 2)
        value, options = self._of(node, 0), attributes(node)
        if weights is None or weights.ndim != 4 or value is None:
            return None
        kernel, steps = list(weights.shape[2:]), options.get("strides", [1, 1])
        plain = (
            (kernel in ([1, 1], [3, 3]) or kernel == steps == [2, 2])
            and options.get("auto_pad", b"NOTSET") == b"NOTSET"
            and options.get("group", 1) == 1
            and options.get("pads", [0] * 4) == [(kernel[0] - 1) // 2] * 4
            and set(options.get("dilations", [1])) == {1}
            and steps in ([1, 1], [2, 2])
        )
        if not plain:
            return None
        if isinstance(value, _Planes):
            value = self._gathered(value, weights.shape[1])
        if isinstance(value, FeatureMap):
            value = _Prepared(value)
        if not isinstance(value, _Prepared) or (value.groups and value.scale is None):
            return None
        shrink = value.source.shrink * steps[0] / (2 if value.doubled else 1)
        to = FeatureMap(weights.shape[0], shrink)
        normalisation = None
        if value.scale is not None and value.shift is not None:
            normalisation = Normalisation(value.groups, value.epsilon, value.scale, value.shift)
        bias = np.zeros(len(weights), np.float32) if bias is None else bias
        step = Convolution(value.source, to, weights, bias, steps[0], value.doubled, value.activation, normalisation)
        self.network.steps.append(step)
        return to

    def _gathered(self, planes: _Planes, channels: int) -> FeatureMap | None:
        """The map of inputs that a convolution of so many channels reads."""
        inputs = sum(self.network.inputs[name].channels for name in planes.names)
        patch = math.isqrt(channels // inputs)
        if inputs * patch**2 != channels or (patch > 1) != planes.patched:
            return None
        to = FeatureMap(channels, Fraction(patch))
        self.network.steps.append(Gather(planes.names, patch, to))
        return to

    def _matmul(self, node: NodeProto) -> object:
        left, right = self._of(node, 0), self._of(node, 1)
        if not isinstance(right, _Third):
            return None
        if isinstance(left, _Third) and (left.index, right.index) == (0, 1) and left.source is right.source:
            return _Weights(left.source, left.factor * right.factor)
        if isinstance(left, _Weights) and left.normalised and right.index == 2 and left.source is right.source:
            to = FeatureMap(right.source.channels // 3, right.source.shrink)
            self.network.steps.append(Attention(right.source, to, left.factor * right.factor))
            return to if right.factor == 1 else None
        return None

    def _softmax(self, node: NodeProto) -> object:
        value = self._of(node, 0)
        last = attributes(node).get("axis", -1) == -1
        return replace(value, normalised=True) if isinstance(value, _Weights) and last else None

    def _shuffle(self, node: NodeProto) -> object:
        value, options = self._of(node, 0), attributes(node)
        if not isinstance(value, FeatureMap) or options.get("mode") != b"CRD":
            return None
        return _Shuffled(value, options["blocksize"])

    def _output(self, name: str) -> None:
        value = self._meaning.get(name)
        squashed = isinstance(value, _Squashed)
        value = value.of if isinstance(value, _Squashed) else value
        if isinstance(value, FeatureMap):
            value = _Shuffled(value, 1)
        if not isinstance(value, _Shuffled):
            raise ExportError(f"the CPU kernels cannot run this network: its output {name} is made in an unknown way")
        channels, shrink = value.source.channels // value.patch**2, value.source.shrink / value.patch
        self.network.outputs[name] = Port(channels, shrink)
        self.network.steps.append(Scatter(value.source, value.patch, squashed, name))

    def _measure_in_images(self) -> None:
        """Sizes have been counted from the inputs', which may be smaller than an image."""
        finest = min(port.shrink for port in (*self.network.inputs.values(), *self.network.outputs.values()))
        if finest == 1:
            return
        ports = (self.network.inputs, self.network.outputs)
        for group in ports:
            group |= {name: Port(port.channels, port.shrink / finest) for name, port in group.items()}
        maps = {id(item): item for step in self.network.steps for item in maps_of(step)}
        for item in maps.values():
            item.shrink /= finest


def _by_channel(constant: Values, channels: int) -> Values:
    """A constant of [C, 1, 1] or of one value as float32 [C]."""
    return np.broadcast_to(constant.reshape(-1).astype(np.float32), channels)
