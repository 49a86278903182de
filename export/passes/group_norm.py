"""Group normalisation in the form that a backend runs fastest. Exact: one function, three ways to write it.

    y_c = gamma_c (x_c - mu_g) / sqrt(var_g + eps) + beta_c,   mu_g, var_g over the pixels and channels of c's group g

- The exported form (opset 18): x as [N, G, -1], InstanceNormalization, back to [N, C, H, W], times gamma, plus beta.
- `native`: one GroupNormalization of opset 21. Some TensorRT releases compute it wrongly; ONNX Runtime's CPU has no
  kernel for it and expands it by the standard's definition, whose variance is mean(x^2) - mean(x)^2.
- `two_pass`: d = x - mean(x), a = gamma / sqrt(mean(d^2) + eps), y = d a + beta, in plain operations, which share the
  work among threads where InstanceNormalization has but one. The variance is that of the centered values: the
  shorter mean(x^2) - mean(x)^2 cancels, and costs two digits on trained weights. So does ReduceSumSquare in ONNX
  Runtime, which adds up without pairs: hence a product and a mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from shadowdiffusion.export.passes.view import Values, View, attributes, float_tensor, integer_tensor, replaced

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

NATIVE_OPSET = 21


@dataclass(frozen=True)
class Norm:
    """One group normalisation: the value `x` [N, C, H, W] -> the value `y`; gamma and beta float32[C].

    y is float32; x is of half precision if `cast`, and is to be cast before anything is computed of it.
    """

    x: str
    y: str
    cast: bool
    groups: int
    gamma: Values
    beta: Values
    epsilon: float


Form = Callable[[Norm], tuple[list["NodeProto"], list["TensorProto"]]]


def native(model: ModelProto) -> ModelProto:
    """A copy of `model` with GroupNormalization nodes, for opset 21, where there is any group normalisation."""
    from onnx import TensorProto, helper

    result = _rewritten(model, _native)
    names = [node.output[0] for node in result.graph.node if node.op_type == "GroupNormalization"]
    # ONNX has no rule for the type of its result
    result.graph.value_info.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    if names:
        (opset,) = (item for item in result.opset_import if item.domain == "")
        opset.version = max(opset.version, NATIVE_OPSET)
        result.ir_version = max(result.ir_version, 10)
    return result


def two_pass(model: ModelProto) -> ModelProto:
    """A copy of `model` whose group normalisations are means, differences and products."""
    return _rewritten(model, _two_pass)


def _rewritten(model: ModelProto, form: Form) -> ModelProto:
    from onnx import TensorProto, helper

    replacements, tensors = dict[str, list["NodeProto"]](), list["TensorProto"]()
    for norm in norms(model):
        nodes = list["NodeProto"]()
        if norm.cast:
            single = f"{norm.y}.x"
            nodes = [helper.make_node("Cast", [norm.x], [single], name=single, to=TensorProto.FLOAT)]
            norm = replace(norm, x=single)
        made, added = form(norm)
        replacements[norm.y] = nodes + made
        tensors += added
    return replaced(model, replacements, tensors)


def norms(model: ModelProto) -> Iterator[Norm]:
    """The group normalisations that `model` has in the exported form."""
    view = View(model)
    for add in model.graph.node:
        mul = view.parent(add, 0, "Mul") if add.op_type == "Add" else None
        back = view.parent(mul, 0, "Reshape") if mul else None
        instance = view.parent(back, 0, "InstanceNormalization") if back else None
        cast = view.parent(instance, 0, "Cast") if instance else None  # in a mixed graph, behind what moves values
        split = view.parent(cast or instance, 0, "Reshape") if instance else None
        if not (mul and back and instance and split):
            continue
        constants = [split.input[1], *instance.input[1:3], mul.input[1], add.input[1]]
        values = [found for name in constants if (found := view.constant(name)) is not None]
        shaped = view.maker.get(back.input[1])
        if len(values) < len(constants) or shaped is None:
            continue
        shape, unit, zero, scale, bias = values
        groups, channels = unit.size, scale.size
        fits = (
            shape.tolist() == [0, groups, -1]
            and not attributes(split).get("allowzero")
            and shaped.op_type == "Shape"
            and shaped.input[0] == split.input[0]
            and not any(attributes(shaped).values())
            and np.all(unit == 1)
            and not np.any(zero)
            and scale.shape[-3:] == bias.shape[-3:] == (channels, 1, 1)
            and scale.dtype == bias.dtype == np.float32
            and channels % groups == 0
        )
        if fits:
            epsilon = attributes(instance).get("epsilon", 1e-5)
            yield Norm(split.input[0], add.output[0], cast is not None, groups, scale.ravel(), bias.ravel(), epsilon)


def _native(norm: Norm) -> tuple[list[NodeProto], list[TensorProto]]:
    from onnx import helper

    gamma, beta = f"native.{norm.y}.gamma", f"native.{norm.y}.beta"
    settings: dict[str, Any] = {"num_groups": norm.groups, "epsilon": norm.epsilon}
    node = helper.make_node("GroupNormalization", [norm.x, gamma, beta], [norm.y], name=norm.y, **settings)
    return [node], [float_tensor(gamma, norm.gamma), float_tensor(beta, norm.beta)]


def _two_pass(norm: Norm) -> tuple[list[NodeProto], list[TensorProto]]:
    from onnx import helper

    channels = norm.gamma.size
    tensors = [
        integer_tensor(f"two-pass.{norm.y}.grouped", [0, norm.groups, -1]),
        integer_tensor(f"two-pass.{norm.y}.axes", [2]),
        integer_tensor(f"two-pass.{norm.y}.channels", [0, channels, 1, 1]),
        float_tensor(f"two-pass.{norm.y}.epsilon", norm.epsilon),
        float_tensor(f"two-pass.{norm.y}.gamma", norm.gamma.reshape(1, norm.groups, -1)),
        float_tensor(f"two-pass.{norm.y}.beta", norm.beta.reshape(1, channels, 1, 1)),
    ]
    nodes = list["NodeProto"]()

    def compute(kind: str, inputs: str, output: str, **settings: Any) -> None:
        names = [norm.x if name == "x" else f"two-pass.{norm.y}.{name}" for name in inputs.split()]
        target = f"two-pass.{norm.y}.{output}" if output else norm.y
        nodes.append(helper.make_node(kind, names, [target], name=target, **settings))

    compute("Reshape", "x grouped", "flat")  # [N, G, C/G H W]
    compute("ReduceMean", "flat axes", "mean", keepdims=1)
    compute("Sub", "flat mean", "difference")
    compute("Mul", "difference difference", "square")
    compute("ReduceMean", "square axes", "variance", keepdims=1)
    compute("Add", "variance epsilon", "stable")
    compute("Sqrt", "stable", "deviation")
    compute("Div", "gamma deviation", "ratio")  # [N, G, C/G]
    compute("Reshape", "ratio channels", "scale")
    compute("Shape", "x", "shape")
    compute("Reshape", "difference shape", "centered")
    compute("Mul", "centered scale", "scaled")
    compute("Add", "scaled beta", "")
    return nodes, tensors
