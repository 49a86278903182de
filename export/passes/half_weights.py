"""Weights stored in half precision, arithmetic in single: a bundle of half the size at a measured cost.

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

    from training.checkpoint import Model

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
    """Round in place the parameters that `halve_weights` stores as float16, so PyTorch has the same."""
    import torch

    with torch.no_grad():
        for parameter in module.parameters():
            if _suits(parameter.numel(), float(parameter.abs().max())):
                parameter.copy_(parameter.half().float())


def halve_weights(model: ModelProto) -> int:
    """Store large float32 initialisers of `model` as float16 with a Cast back, in place; returns how many.

    A tensor with a value beyond the range of float16 stays as it is.
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if not _suits(values.size, float(np.abs(values).max(initial=0.0))):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)
    return len(casts)


def _suits(elements: int, largest: float) -> bool:
    return elements >= LARGE and HALF_TINY <= largest <= HALF_MAX
