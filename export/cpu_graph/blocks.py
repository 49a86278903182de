"""The blocks of a NAFNet (Chen et al., "Simple Baselines for Image Restoration", ECCV 2022) as two steps each.

    s = x + project(attention(gate(depthwise(expand(normalised x)))))        the gated depthwise convolution, then
    y = s + contract(gate(expand(normalised s)))                             all the rest, pixel by pixel

Values on their way through a block are followed by what they mean, as `export.cpu_graph.reading` does, until a step is
whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from shadowdiffusion.export.cpu_graph.network import Convolution, FeatureMap, GatedDepthwise, Linear, Network, Pointwise
from shadowdiffusion.export.passes.view import Values, View, attributes

if TYPE_CHECKING:
    from onnx import NodeProto

CHANNELS_LAST, CHANNELS_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


@dataclass(frozen=True)
class _Half:
    """plus + project(source * excitation of its means): what a block has become after its first gate."""

    plus: FeatureMap
    source: FeatureMap
    excitation: Linear
    project: Linear


@dataclass(frozen=True)
class _ChannelsLast:
    of: FeatureMap | _Half


@dataclass(frozen=True)
class _Standardised:
    """A map or half normalised over the channels of each pixel, then scaled and shifted, float32 [channels] both."""

    of: FeatureMap | _Half
    epsilon: float
    scale: Values
    shift: Values


@dataclass(frozen=True)
class _Depthwise:
    source: FeatureMap
    weights: Values
    bias: Values


@dataclass(frozen=True)
class _Expanded:
    of: _Half
    epsilon: float
    linear: Linear


@dataclass(frozen=True)
class _Part:
    """The first or second half of the channels."""

    of: _Depthwise | _Expanded
    index: int


@dataclass(frozen=True)
class _Gate:
    expanded: _Expanded


@dataclass(frozen=True)
class _Means:
    """Of the channels of a map."""

    source: FeatureMap


@dataclass(frozen=True)
class _Excitation:
    """A product with the means of a map; `applied`: the map times that."""

    source: FeatureMap
    linear: Linear
    applied: bool = False


@dataclass(frozen=True)
class _Projected:
    """A product with an excited map, or with the second gate."""

    of: _Excitation | _Gate
    linear: Linear


class BlockRules:
    """rules: node -> what its output means, or None, by kind of node. Whole steps are added to `network`."""

    def __init__(self, view: View, network: Network, meaning: dict[str, object]) -> None:
        self._view, self._network, self._meaning = view, network, meaning
        self.rules: dict[str, Callable[[NodeProto], object]] = {
            "Transpose": self._transpose,
            "LayerNormalization": self._normalise,
            "Conv": self._conv,
            "Split": self._split,
            "ReduceMean": self._mean,
            "Mul": self._mul,
            "Add": self._add,
        }

    def _of(self, node: NodeProto, index: int) -> object:
        return self._meaning.get(node.input[index]) if index < len(node.input) else None

    def _constant(self, node: NodeProto, index: int) -> Values | None:
        return self._view.constant(node.input[index]) if index < len(node.input) else None

    def _transpose(self, node: NodeProto) -> object:
        value, order = self._of(node, 0), attributes(node).get("perm")
        if isinstance(value, FeatureMap | _Half) and order == CHANNELS_LAST:
            return _ChannelsLast(value)
        return value if isinstance(value, _Standardised) and order == CHANNELS_FIRST else None

    def _normalise(self, node: NodeProto) -> object:
        value, options = self._of(node, 0), attributes(node)
        scale, shift = self._constant(node, 1), self._constant(node, 2)
        if not isinstance(value, _ChannelsLast) or options.get("axis", -1) not in (-1, 3) or scale is None:
            return None
        shift = np.zeros_like(scale) if shift is None else shift
        return _Standardised(value.of, float(options.get("epsilon", 1e-5)), scale, shift)

    def _conv(self, node: NodeProto) -> object:
        value, options = self._of(node, 0), attributes(node)
        weights, bias = self._constant(node, 1), self._constant(node, 2)
        if weights is None or set(options.get("strides", [1]) + options.get("dilations", [1])) != {1}:
            return None
        kernel, groups, pads = list(weights.shape[2:]), options.get("group", 1), options.get("pads", [0] * 4)
        bias = np.zeros(len(weights), np.float32) if bias is None else bias
        if (
            isinstance(value, FeatureMap)
            and kernel == [3, 3]
            and groups == value.channels == len(weights)
            and set(pads) == {1}
        ):
            return _Depthwise(value, weights, bias)
        if kernel != [1, 1] or groups != 1 or any(pads):
            return None
        linear = Linear(weights[:, :, 0, 0].astype(np.float32), bias.astype(np.float32))
        if isinstance(value, _Standardised):
            linear = linear.after(value.scale, value.shift)
            if isinstance(value.of, _Half):
                return _Expanded(value.of, value.epsilon, linear)
            to = FeatureMap(len(weights), value.of.shrink)
            whole = linear.weights[:, :, None, None]
            self._network.steps.append(Convolution(value.of, to, whole, linear.bias, standardised=value.epsilon))
            return to
        if isinstance(value, _Means):
            return _Excitation(value.source, linear)
        if isinstance(value, _Gate) or (isinstance(value, _Excitation) and value.applied):
            return _Projected(value, linear)
        return None

    def _split(self, node: NodeProto) -> object:
        value, widths = self._of(node, 0), self._constant(node, 1)
        halved = len(node.output) == 2 and (widths is None or len(set(widths.tolist())) == 1)
        if not isinstance(value, _Depthwise | _Expanded) or attributes(node).get("axis", 0) != 1 or not halved:
            return None
        return [_Part(value, 0), _Part(value, 1)]

    def _mean(self, node: NodeProto) -> object:
        value, options = self._of(node, 0), attributes(node)
        axes = self._constant(node, 1) if len(node.input) > 1 else options.get("axes")
        over_pixels = axes is not None and sorted(axis % 4 for axis in np.ravel(axes).tolist()) == [2, 3]
        return _Means(value) if isinstance(value, FeatureMap) and over_pixels and options.get("keepdims", 1) else None

    def _mul(self, node: NodeProto) -> object:
        a, b = self._of(node, 0), self._of(node, 1)
        for index, (one, other) in enumerate(((a, b), (b, a))):
            if (
                isinstance(one, _Part)
                and isinstance(other, _Part)
                and one.of is other.of
                and (one.index, other.index) == (0, 1)
            ):
                return self._gated(one.of)
            if isinstance(other, _Excitation) and other.source is one:
                return replace(other, applied=True)
            constant = self._constant(node, 1 - index)
            if isinstance(one, _Projected) and constant is not None:
                factors = np.broadcast_to(constant.reshape(-1).astype(np.float32), one.linear.bias.shape)
                return replace(one, linear=one.linear.scaled(factors))
        return None

    def _gated(self, value: _Depthwise | _Expanded) -> object:
        if isinstance(value, _Expanded):
            return _Gate(value)
        to = FeatureMap(value.source.channels // 2, value.source.shrink)
        self._network.steps.append(GatedDepthwise(value.source, to, value.weights, value.bias))
        return to

    def _add(self, node: NodeProto) -> object:
        for one, other in ((self._of(node, 0), self._of(node, 1)), (self._of(node, 1), self._of(node, 0))):
            if not isinstance(other, _Projected):
                continue
            if isinstance(one, FeatureMap) and isinstance(other.of, _Excitation):
                return _Half(one, other.of.source, other.of.linear, other.linear)
            if isinstance(one, _Half) and isinstance(other.of, _Gate) and other.of.expanded.of is one:
                expanded, to = other.of.expanded, FeatureMap(one.plus.channels, one.plus.shrink)
                self._network.steps.append(
                    Pointwise(
                        one.source,
                        one.plus,
                        to,
                        one.excitation,
                        one.project,
                        expanded.linear,
                        other.linear,
                        expanded.epsilon,
                    )
                )
                return to
        return None
