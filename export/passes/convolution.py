"""Which convolutions the passes may write otherwise: plain 3x3 ones, after a nearest doubling or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shadowdiffusion.export.passes.view import Values, View, attributes

if TYPE_CHECKING:
    from onnx import NodeProto


def plain_kernel(view: View, node: NodeProto) -> Values | None:
    """The constant float kernel [out, in, 3, 3] of a convolution that keeps the size and has no groups, else None."""
    weight = view.constant(node.input[1]) if node.op_type == "Conv" else None
    if weight is None or weight.dtype not in (np.float16, np.float32) or weight.shape[2:] != (3, 3):
        return None
    conv = attributes(node)
    plain = (
        conv.get("auto_pad", b"NOTSET") == b"NOTSET"
        and conv.get("group", 1) == 1
        and conv.get("pads") == [1, 1, 1, 1]
        and {*conv.get("strides", [1]), *conv.get("dilations", [1])} == {1}
    )
    return weight if plain else None


def doubling(view: View, node: NodeProto) -> NodeProto | None:
    """The Resize that doubles the image that `node` alone reads by repeating pixels, or None."""
    resize = view.parent(node, 0, "Resize")
    if resize is None:
        return None
    scale = attributes(resize)
    scales = view.constant(resize.input[2]) if len(resize.input) > 2 else None
    doubles = (
        scale.get("mode", b"nearest") == b"nearest"
        and scale.get("coordinate_transformation_mode") == b"asymmetric"
        and scale.get("nearest_mode") == b"floor"
        and scales is not None
        and scales.tolist() == [1, 1, 2, 2]
    )
    return resize if doubles else None
