"""Nearest doubling and a 3x3 convolution become four 2x2 convolutions, one per phase of the output. Exact.

    y[2i+a, 2j+b] = sum_kl w[k, l] up(x)[2i+a+k-1, 2j+b+l-1],   up(x)[m, n] = x[m div 2, n div 2]
                  = sum_pq v_ab[p, q] x[i+a+p-1, j+b+q-1],   v_ab[p, q] = sum of w[k, l] over k in K_a(p), l in K_b(q)

    K_0 = ({0}, {1, 2}),   K_1 = ({0, 1}, {2}):  rows of the kernel that fall on the same source pixel

4/9 of the multiplications, and the doubled image is never made; interleaving the phases (DepthToSpace) costs a copy.
Zero padding of the doubled image is zero padding of x. The sums of weights are rounded once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shadowdiffusion.export.passes.convolution import doubling, plain_kernel
from shadowdiffusion.export.passes.view import Values, View, replaced

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

TAPS = np.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], np.float64)
"""[phase a, tap p, kernel row k]: whether k is in K_a(p)."""


def apply(model: ModelProto) -> ModelProto:
    """A copy of `model` in which every nearest doubling read by one plain 3x3 convolution alone is rewritten."""
    view = View(model)
    replacements, tensors = dict[str, list["NodeProto"]](), list["TensorProto"]()
    for node in model.graph.node:
        kernel = plain_kernel(view, node)
        resize = doubling(view, node) if kernel is not None else None
        if kernel is not None and resize is not None:
            replacements[node.output[0]], added = _phases(node, kernel, resize.input[0])
            tensors += added
    return replaced(model, replacements, tensors)


def _phases(node: NodeProto, kernel: Values, source: str) -> tuple[list[NodeProto], list[TensorProto]]:
    """The four convolutions of the value `source` and their interleaving, in place of the convolution `node`."""
    from onnx import helper, numpy_helper

    name = node.output[0]
    # v[a, b, output, input, p, q], each sum rounded once
    phases = np.einsum("apk,bql,oikl->aboipq", TAPS, TAPS, kernel.astype(np.float64))
    nodes, tensors, parts = list["NodeProto"](), list["TensorProto"](), list[str]()
    for a in (0, 1):
        for b in (0, 1):
            part = f"{name}.phase{a}{b}"
            parts.append(part)
            tensors.append(numpy_helper.from_array(phases[a, b].astype(kernel.dtype), f"{part}.weight"))
            inputs = [source, f"{part}.weight", *node.input[2:]]
            pads = [1 - a, 1 - b, a, b]  # phase a reads rows i+a-1 and i+a
            nodes.append(helper.make_node("Conv", inputs, [part], name=part, kernel_shape=[2, 2], pads=pads))
    nodes.append(helper.make_node("Concat", parts, [f"{name}.phases"], name=f"{name}.phases", axis=1))
    shuffle = helper.make_node("DepthToSpace", [f"{name}.phases"], [name], name=f"{name}.interleave", blocksize=2)
    return [*nodes, shuffle], tensors
