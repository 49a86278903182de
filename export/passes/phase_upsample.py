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

from export.passes.view import View, attributes, replaced

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

TAPS = np.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], np.float64)
"""[phase a, tap p, kernel row k]: whether k is in K_a(p)."""


def apply(model: ModelProto) -> ModelProto:
    """A copy of `model` in which every nearest doubling read by one plain 3x3 convolution alone is rewritten."""
    view = View(model)
    replacements, tensors = dict[str, list["NodeProto"]](), list["TensorProto"]()
    for node in model.graph.node:
        resize = _doubling(view, node)
        if resize is not None:
            replacements[node.output[0]], added = _phases(view, node, resize.input[0])
            tensors += added
    return replaced(model, replacements, tensors)


def _doubling(view: View, node: NodeProto) -> NodeProto | None:
    """The Resize that doubles the input of `node` by repeating pixels, if `node` is a convolution that fits."""
    if node.op_type != "Conv" or (resize := view.parent(node, 0, "Resize")) is None:
        return None
    weight, conv, scale = view.constant(node.input[1]), attributes(node), attributes(resize)
    plain = (
        weight is not None
        and weight.dtype in (np.float16, np.float32)
        and weight.shape[2:] == (3, 3)
        and conv.get("auto_pad", b"NOTSET") == b"NOTSET"
        and conv.get("group", 1) == 1
        and conv.get("pads") == [1, 1, 1, 1]
        and {*conv.get("strides", [1]), *conv.get("dilations", [1])} == {1}
    )
    scales = view.constant(resize.input[2]) if len(resize.input) > 2 else None
    doubling = (
        scale.get("mode", b"nearest") == b"nearest"
        and scale.get("coordinate_transformation_mode") == b"asymmetric"
        and scale.get("nearest_mode") == b"floor"
        and scales is not None
        and scales.tolist() == [1, 1, 2, 2]
    )
    return resize if plain and doubling else None


def _phases(view: View, node: NodeProto, source: str) -> tuple[list[NodeProto], list[TensorProto]]:
    """The four convolutions of the value `source` and their interleaving, in place of the convolution `node`."""
    from onnx import helper, numpy_helper

    name = node.output[0]
    weight = view.constant(node.input[1])
    assert weight is not None
    # v[a, b, output, input, p, q], each sum rounded once
    phases = np.einsum("apk,bql,oikl->aboipq", TAPS, TAPS, weight.astype(np.float64))
    nodes, tensors, parts = list["NodeProto"](), list["TensorProto"](), list[str]()
    for a in (0, 1):
        for b in (0, 1):
            part = f"{name}.phase{a}{b}"
            parts.append(part)
            tensors.append(numpy_helper.from_array(phases[a, b].astype(weight.dtype), f"{part}.weight"))
            inputs = [source, f"{part}.weight", *node.input[2:]]
            pads = [1 - a, 1 - b, a, b]  # phase a reads rows i+a-1 and i+a
            nodes.append(helper.make_node("Conv", inputs, [part], name=part, kernel_shape=[2, 2], pads=pads))
    nodes.append(helper.make_node("Concat", parts, [f"{name}.phases"], name=f"{name}.phases", axis=1))
    shuffle = helper.make_node("DepthToSpace", [f"{name}.phases"], [name], name=f"{name}.interleave", blocksize=2)
    return [*nodes, shuffle], tensors
