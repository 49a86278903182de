"""A `Network` as the file that the CPU kernels read: safetensors, with the steps as JSON in its metadata.

    version, multiple, row, inputs {name: {channels, shrink}}, outputs, maps [{channels, shrink}], steps

[map, first, count] are some channels of a map. Each step is an object
of one kind, whose fields are those of `export.cpu_graph.network`:

    gather       inputs, patch, to
    convolution  from, to, kernel, step, doubled, activation, normalisation {groups: of each channel, -1 for a gap;
                 count, scale, shift, epsilon}, standardised, weights [kernel, kernel, inputs, outputs], bias, row,
                 plus, patch: outputs are all channels of the first pixel of each patch, then those of the second, ...
    light        image, mask, patch, to
    depthwise    from, to, weights [3, 3, inputs], bias
    pointwise    from, plus, to, hidden, epsilon, and {weights [inputs, outputs], bias} of excitation, project, first
                 and second (the halves of what expands), contract
    attention    query, key, value, to, scale
    degradation  image, weight, veil, matte, patch, least and most of the weight's logarithm, thickest veil, trust,
                 clean, shadow
    scatter      from, patch, squashed, output

Weights are names of tensors, gaps included, in half precision where that loses nothing. `runtime/cpp/cpu/plan.cpp`
checks all of it.
"""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

import numpy as np
from safetensors.numpy import save

from shadowdiffusion.export.cpu_graph.network import (
    LANES,
    Attention,
    Convolution,
    Degradation,
    FeatureMap,
    Floats,
    GatedDepthwise,
    Gather,
    Light,
    Linear,
    Network,
    Normalisation,
    Pointwise,
    Port,
    Positions,
    Step,
    maps_of,
)
from shadowdiffusion.export.errors import ExportError

VERSION = 2
PANEL = 32
"""Outputs that products of matrices are made of at once."""
DEGRADATION_MULTIPLE = 16
"""Of the sides of photos: rows are whole vectors."""


def encode_plan(network: Network) -> bytes:
    """The file. Raises ExportError for a network whose maps cannot be laid out."""
    writer = _Writer(network)
    steps = [writer.step(step) for step in network.steps]
    finest = [item["shrink"] for item in writer.maps]
    multiple = math.lcm(*finest, *(_whole(port.shrink) for port in network.inputs.values()))
    if multiple % DEGRADATION_MULTIPLE and any(isinstance(step, Degradation) for step in network.steps):
        least = DEGRADATION_MULTIPLE
        raise ExportError(f"the CPU kernels run priors of multiples of {least} pixels, not of {multiple}")
    plan = {
        "version": VERSION,
        "multiple": multiple,
        "row": network.row,
        "inputs": _ports(network.inputs),
        "outputs": _ports(network.outputs),
        "maps": writer.maps,
        "steps": steps,
    }
    tensors = {name: _smallest(values) for name, values in writer.tensors.items()}
    return save(tensors, {"plan": json.dumps(plan, separators=(",", ":"))})


def _whole(shrink: Fraction) -> int:
    if shrink.denominator != 1:
        raise ExportError(f"the CPU kernels have maps of the image's size at most, not {1 / shrink} times larger")
    return int(shrink)


def _ports(ports: dict[str, Port]) -> dict[str, dict[str, int]]:
    return {name: {"channels": port.channels, "shrink": _whole(port.shrink)} for name, port in ports.items()}


def _smallest(values: Floats) -> Floats | np.ndarray[Any, np.dtype[np.float16]]:
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), values) else np.ascontiguousarray(values)


class _Writer:
    """Gives every map its place: that in the concatenation it is part of, else a map of its own."""

    def __init__(self, network: Network) -> None:
        self.maps: list[dict[str, int]] = []
        self.tensors: dict[str, Floats] = {}
        self._places: dict[int, tuple[int, int]] = {}
        found = {id(item): item for step in network.steps for item in maps_of(step)}
        for item in found.values():
            if item.parts:
                self._place(item, self._new(item), 0)
        for item in found.values():
            if id(item) not in self._places:
                self._place(item, self._new(item), 0)

    def _new(self, item: FeatureMap) -> int:
        self.maps.append({"channels": item.width, "shrink": _whole(item.shrink)})
        return len(self.maps) - 1

    def _place(self, item: FeatureMap, index: int, first: int) -> None:
        if id(item) in self._places:
            raise ExportError("the CPU kernels keep a map in one place, and this network concatenates one twice")
        self._places[id(item)] = (index, first)
        for part in item.parts:
            self._place(part, index, first)
            first += part.width

    def _slice(self, item: FeatureMap, part: int = 0, parts: int = 1) -> list[int]:
        index, first = self._places[id(item)]
        width = item.width // parts
        return [index, first + part * width, width]

    def _tensor(self, name: str, values: Floats) -> str:
        key = f"{len(self.tensors)}.{name}"
        self.tensors[key] = values
        return key

    def step(self, step: Step) -> dict[str, dict[str, Any]]:
        if isinstance(step, Gather):
            return {"gather": {"inputs": step.inputs, "patch": step.patch, "to": self._slice(step.to)}}
        if isinstance(step, Light):
            return {"light": {"image": step.image, "mask": step.mask, "patch": step.patch, "to": self._slice(step.to)}}
        if isinstance(step, Convolution):
            return {"convolution": self._convolution(step)}
        if isinstance(step, GatedDepthwise):
            return {"depthwise": self._depthwise(step)}
        if isinstance(step, Pointwise):
            return {"pointwise": self._pointwise(step)}
        if isinstance(step, Attention):
            thirds = {name: self._slice(step.source, i, 3) for i, name in enumerate(("query", "key", "value"))}
            return {"attention": thirds | {"to": self._slice(step.to), "scale": step.scale}}
        if isinstance(step, Degradation):
            return {"degradation": self._degradation(step)}
        fields = {"patch": step.patch, "squashed": step.squashed, "output": step.output}
        return {"scatter": {"from": self._slice(step.source)} | fields}

    def _convolution(self, step: Convolution) -> dict[str, Any]:
        if step.patch > 1 and step.to.width % PANEL:
            count = step.to.channels
            raise ExportError(f"the CPU kernels give patches of multiples of {PANEL} channels, not of {count}")
        if step.plus is not None and not np.array_equal(step.plus.positions, step.to.positions):
            raise ExportError("the CPU kernels add maps that lie alike, and this network adds others")
        if step.row is not None and step.to.width != step.to.channels:
            raise ExportError(f"the CPU kernels add a row to multiples of 16 channels, not to {step.to.channels}")
        if step.standardised is not None:
            _require_full(step.source)
        kernel, outputs = step.weights.shape[2], step.patch**2 * step.to.width
        weights = np.zeros((kernel, kernel, step.source.width, outputs), np.float32)
        into = step.source.positions
        # of depth to space, the pixels of a patch are the last axis of the channels
        out = (step.to.positions[:, None] + np.arange(step.patch**2) * step.to.width).reshape(-1)
        weights[:, :, into[:, None], out[None]] = step.weights.transpose(2, 3, 1, 0)
        normalisation = step.normalisation and self._normalisation(step.normalisation, into, step.source.width)
        return {
            "from": self._slice(step.source),
            "to": self._slice(step.to),
            "kernel": kernel,
            "step": step.step,
            "doubled": step.doubled,
            "activation": step.activation,
            "normalisation": normalisation,
            "standardised": step.standardised,
            "patch": step.patch,
            "weights": self._tensor("weights", weights),
            "bias": self._tensor("bias", _spread(step.bias, out, outputs)),
            "row": step.row,
            "plus": None if step.plus is None else self._slice(step.plus),
        }

    def _depthwise(self, step: GatedDepthwise) -> dict[str, Any]:
        _require_full(step.source, step.to)
        weights = np.ascontiguousarray(step.weights[:, 0].transpose(1, 2, 0))
        tensors = {"weights": self._tensor("weights", weights), "bias": self._tensor("bias", step.bias)}
        return {"from": self._slice(step.source), "to": self._slice(step.to)} | tensors

    def _pointwise(self, step: Pointwise) -> dict[str, Any]:
        _require_full(step.source, step.plus, step.to)
        hidden = len(step.expand.bias) // 2
        halves = [
            Linear(step.expand.weights[part], step.expand.bias[part]) for part in (np.s_[:hidden], np.s_[hidden:])
        ]
        matrices = {"excitation": step.excitation, "project": step.project, "contract": step.contract}
        matrices |= dict(zip(("first", "second"), halves, strict=True))
        if hidden % LANES:
            raise ExportError(f"the CPU kernels standardise and gate multiples of {LANES} channels, not {hidden}")
        maps = {"from": self._slice(step.source), "plus": self._slice(step.plus), "to": self._slice(step.to)}
        return (
            maps
            | {"hidden": hidden, "epsilon": step.epsilon}
            | {name: self._linear(of) for name, of in matrices.items()}
        )

    def _degradation(self, step: Degradation) -> dict[str, Any]:
        least, most = step.limits
        return {
            "image": step.image,
            "weight": self._slice(step.weight),
            "veil": None if step.veil is None else self._slice(step.veil),
            "matte": self._slice(step.matte),
            "patch": step.patch,
            "least": least,
            "most": most,
            "thickest": step.thickest,
            "trust": None if step.trust is None else self._tensor("trust", step.trust),
            "clean": step.clean,
            "shadow": step.shadow,
        }

    def _linear(self, of: Linear) -> dict[str, str]:
        weights = np.ascontiguousarray(of.weights.T)
        return {"weights": self._tensor("weights", weights), "bias": self._tensor("bias", of.bias)}

    def _normalisation(self, of: Normalisation, positions: Positions, width: int) -> dict[str, Any]:
        groups = np.full(width, -1)
        groups[positions] = np.arange(len(positions)) // (len(positions) // of.groups)
        return {
            "groups": groups.tolist(),
            "count": of.groups,
            "scale": self._tensor("scale", _spread(of.scale, positions, width)),
            "shift": self._tensor("shift", _spread(of.shift, positions, width)),
            "epsilon": of.epsilon,
        }


def _require_full(*maps: FeatureMap) -> None:
    for item in maps:
        if item.width != item.channels:
            raise ExportError(
                f"the CPU kernels standardise and gate multiples of {LANES} channels, not {item.channels}"
            )


def _spread(values: Floats, positions: Positions, width: int) -> Floats:
    spread = np.zeros(width, np.float32)
    spread[positions] = values
    return spread
