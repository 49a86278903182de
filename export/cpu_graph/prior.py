"""The ONNX graph of a degradation prior as a `Network`.

Between what it makes of the photo first and what it does with its heads' outputs, a prior is a network like others,
which `export.cpu_graph.reading` reads. Both ends are hundreds of nodes of arithmetic on whole planes that the CPU
kernels have as one step each (`training.degradation` is where they come from); the heads tell which of them there are.
Nobody has to trust that: whoever compiles compares the plan with the graph.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from shadowdiffusion.export.cpu_graph.network import Degradation, Gather, Light, Network, Port, Scatter
from shadowdiffusion.export.cpu_graph.reading import UNSHUFFLED, read_network
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes.view import View, attributes
from shadowdiffusion.runtime.bundle.folder import PRIOR

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

IMAGE, MASK, CLEAN, MATTE = "image", "mask", "clean", "matte"
WEIGHT_HEAD, VEIL_HEAD, MATTE_HEAD, TRUST = "weight_head.weight", "veil_head.weight", "matte_head.weight", "trust"


def read_prior(model: ModelProto) -> Network:
    """The network of the float32 graph of a `training.degradation.DegradationPrior`. Raises ExportError for others."""
    view = View(model)
    heads = {
        head: node for node in model.graph.node for head in (WEIGHT_HEAD, VEIL_HEAD, MATTE_HEAD) if head in node.input
    }
    seen = _seen(model, view)
    if seen is None or not {WEIGHT_HEAD, MATTE_HEAD} <= heads.keys():
        raise ExportError(f"the CPU kernels cannot run {PRIOR}: it is no degradation prior that they know")
    shuffle = _reader(model, heads[MATTE_HEAD].output[0], "DepthToSpace")
    ends = {WEIGHT_HEAD: heads[WEIGHT_HEAD].output[0], MATTE_HEAD: shuffle.output[0]}
    if VEIL_HEAD in heads:
        ends[VEIL_HEAD] = heads[VEIL_HEAD].output[0]
    core = read_network(_between(model, seen, list(ends.values())))
    made = {step.output: step for step in core.steps if isinstance(step, Scatter)}
    matte, veil = made[ends[MATTE_HEAD]], ends.get(VEIL_HEAD)
    span, least = _factors(model, view, heads[WEIGHT_HEAD], "Mul", "Add")
    trust = view.constant(TRUST)
    end = Degradation(
        IMAGE,
        weight=made[ends[WEIGHT_HEAD]].source,
        veil=None if veil is None else made[veil].source,
        matte=matte.source,
        patch=matte.patch,
        limits=(least, least + span),
        thickest=0.0 if veil is None else _factors(model, view, heads[VEIL_HEAD], "Mul")[0],
        trust=None if trust is None else trust.reshape(-1).astype(np.float32),
        clean=CLEAN,
        shadow=MATTE,
    )
    steps = [_light(step) if isinstance(step, Gather) else step for step in core.steps if not isinstance(step, Scatter)]
    inputs = {IMAGE: Port(3, Fraction(1)), MASK: Port(1, Fraction(1))}
    return Network(0, inputs, {CLEAN: Port(3, Fraction(1)), MATTE: Port(1, Fraction(1))}, [*steps, end])


def _light(step: Gather) -> Light:
    return Light(IMAGE, MASK, step.patch, step.to)


def _seen(model: ModelProto, view: View) -> str | None:
    """The planes that the network's first convolution reads as patches."""
    for node in model.graph.node:
        if node.op_type == "Transpose" and attributes(node).get("perm") == UNSHUFFLED:
            name: str = node.input[0]
            while (maker := view.maker.get(name)) is not None and maker.op_type == "Reshape":
                name = maker.input[0]
            return name
    return None


def _between(model: ModelProto, begin: str, ends: list[str]) -> ModelProto:
    from onnx import shape_inference, utils

    return utils.Extractor(shape_inference.infer_shapes(model)).extract_model([begin], ends)


def _reader(model: ModelProto, value: str, kind: str) -> NodeProto:
    node: NodeProto
    for node in model.graph.node:
        if node.op_type == kind and value in node.input:
            return node
    raise ExportError(f"the CPU kernels cannot run {PRIOR}: nothing of type {kind} reads {value}")


def _factors(model: ModelProto, view: View, head: NodeProto, *kinds: str) -> list[float]:
    """The constants of what follows the logistic function of a head's output."""
    node, found = _reader(model, head.output[0], "Sigmoid"), list[float]()
    for kind in kinds:
        node = _reader(model, node.output[0], kind)
        found += [
            values.item() for name in node.input if (values := view.constant(name)) is not None and values.size == 1
        ]
    if len(found) != len(kinds):
        raise ExportError(f"the CPU kernels cannot run {PRIOR}: its heads are scaled in an unknown way")
    return found
