"""Weights stored in half precision, arithmetic in single: half the size at a measured cost. Approximate.

    w    ->    float32(float16(w)), |error| <= 2^-11 |w| for |w| >= 2^-14

Only the file changes. Every large initialiser becomes float16 followed by a Cast to float32, which ONNX
Runtime folds when it loads the model, so each operation still runs in float32.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

    from shadowdiffusion.training.checkpoint import Model

LARGE = 256
"""Elements from which a tensor is stored in half precision; below are biases and norms, not worth a Cast."""

HALF_MAX = 65504.0
HALF_TINY = 2.0**-14  # smallest normal float16: below it the relative error grows


def rounded_model(model: Model) -> Model:
    """A copy whose weights have the values that a bundle with half-precision weights holds."""
    denoiser, prior = copy.deepcopy(model.denoiser), copy.deepcopy(model.prior)
    for module in (denoiser, prior):
        if module is not None:
            round_weights(module)
    return dataclasses.replace(model, denoiser=denoiser, prior=prior)


def round_weights(module: nn.Module) -> None:
    """Round in place the parameters that `apply` stores as float16, so PyTorch has the same."""
    import torch

    with torch.no_grad():
        for parameter in module.parameters():
            if _suits(parameter.numel(), float(parameter.abs().max())):
                parameter.copy_(parameter.half().float())


def apply(model: ModelProto) -> ModelProto:
    """A copy of `model` with its large float32 initialisers as float16 and a Cast back.

    A tensor with a value beyond the range of float16 stays as it is.
    """
    import numpy as np
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    result, casts = ModelProto(), []
    result.CopyFrom(model)
    for tensor in result.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if not _suits(values.size, float(np.abs(values).max(initial=0.0))):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = list(result.graph.node)
    del result.graph.node[:]
    result.graph.node.extend(casts + nodes)
    return result


def _suits(elements: int, largest: float) -> bool:
    return elements >= LARGE and HALF_TINY <= largest <= HALF_MAX
