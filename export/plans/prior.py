"""The ONNX graph of a degradation prior as a `Network`.

Between what it makes of the photo first and what it does with its heads' outputs, a prior is a network like others, which
`export.plans.reading` reads. Both ends are hundreds of nodes of arithmetic on whole planes that the CPU kernels have as one
step each (`training.degradation` is where they come from); which of them there are is told by the heads. Nobody has to trust
that: whoever compiles compares the plan with the graph.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from export.errors import ExportError
from export.passes.view import View, attributes
from export.plans.network import Degradation, FeatureMap, Gather, Light, Network, Port, Scatter
from export.plans.reading import UNSHUFFLED, read_network
from runtime.bundle.folder import PRIOR

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

IMAGE, MASK, CLEAN, MATTE = "image", "mask", "clean", "matte"
WEIGHT_HEAD, VEIL_HEAD, MATTE_HEAD, TRUST = "weight_head.weight", "veil_head.weight", "matte_head.weight", "trust"


def read_prior(model: ModelProto) -> Network:
    """The network of the float32 graph of a `training.degradation.DegradationPrior`. Raises ExportError for any other."""
    view = View(model)
    heads = {head: node for node in model.graph.node for head in (WEIGHT_HEAD, VEIL_HEAD, MATTE_HEAD) if head in node.input}
    seen = _seen(model, view)
    if seen is None or not {WEIGHT_HEAD, MATTE_HEAD} <= heads.keys():
        raise ExportError(f"the CPU kernels cannot run {PRIOR}: it is no degradation prior that they know")
    shuffle = _reader(model, heads[MATTE_HEAD].output[0], "DepthToSpace")
    ends = {WEIGHT_HEAD: heads[WEIGHT_HEAD].output[0], MATTE_HEAD: shuffle.output[0]}
    if VEIL_HEAD in heads:
        ends[VEIL_HEAD] = heads[VEIL_HEAD].output[0]
    core = read_network(_between(model, seen, list(ends.values())))
    gathers = [step for step in core.steps if isinstance(step, Gather)]
    scatters = {step.output: step for step in core.steps if isinstance(step, Scatter)}
    if len(gathers) != 1:
        raise ExportError(f"the CPU kernels cannot run {PRIOR}: it reads the photo more than once")
    maps: dict[str, FeatureMap] = {head: scatters[end].source for head, end in ends.items()}
    span, least = _factors(model, view, heads[WEIGHT_HEAD], "Mul", "Add")
    thickest = _factors(model, view, heads[VEIL_HEAD], "Mul")[0] if VEIL_HEAD in heads else 0.0
    trust = view.constant(TRUST)
    end = Degradation(
        IMAGE,
        maps[WEIGHT_HEAD],
        maps.get(VEIL_HEAD),
        maps[MATTE_HEAD],
        scatters[ends[MATTE_HEAD]].patch,
        (least, least + span),
        thickest,
        None if trust is None else trust.reshape(-1).astype(np.float32),
        CLEAN,
        MATTE,
    )
    begin = Light(IMAGE, MASK, gathers[0].patch, gathers[0].to)
    steps = [begin if step is gathers[0] else step for step in core.steps if not isinstance(step, Scatter)]
    inputs, outputs = ({name: Port(count, Fraction(1)) for name, count in ends} for ends in (((IMAGE, 3), (MASK, 1)), ((CLEAN, 3), (MATTE, 1))))
    return replace(core, inputs=inputs, outputs=outputs, steps=[*steps, end])


def _seen(model: ModelProto, view: View) -> str | None:
    """The planes that the network's first convolution reads as patches."""
    for node in model.graph.node:
        if node.op_type == "Transpose" and attributes(node).get("perm") == UNSHUFFLED:
            name = node.input[0]
            while (maker := view.maker.get(name)) is not None and maker.op_type == "Reshape":
                name = maker.input[0]
            return name
    return None


def _between(model: ModelProto, begin: str, ends: list[str]) -> ModelProto:
    from onnx import shape_inference, utils

    return utils.Extractor(shape_inference.infer_shapes(model)).extract_model([begin], ends)


def _reader(model: ModelProto, value: str, kind: str) -> NodeProto:
    found = next((node for node in model.graph.node if node.op_type == kind and value in node.input), None)
    if found is None:
        raise ExportError(f"the CPU kernels cannot run {PRIOR}: nothing of type {kind} reads {value}")
    return found


def _factors(model: ModelProto, view: View, head: NodeProto, *kinds: str) -> list[float]:
    """The constants of what follows the logistic function of a head's output."""
    node, found = _reader(model, head.output[0], "Sigmoid"), list[float]()
    for kind in kinds:
        node = _reader(model, node.output[0], kind)
        found += [values.item() for name in node.input if (values := view.constant(name)) is not None and values.size == 1]
    if len(found) != len(kinds):
        raise ExportError(f"the CPU kernels cannot run {PRIOR}: its heads are scaled in an unknown way")
    return found
