"""The shapes of a network's inputs for images of some size, from what its graph declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ValueInfoProto


def shape_at(value: ValueInfoProto, batch: int, height: int, width: int) -> tuple[int, ...]:
    """The shape of an input for `batch` images of `height` x `width` pixels.

    What the graph leaves open is the batch on axis 0, the height on axis 2 and the width on axis 3, or an integer
    part of them where it says so: "height/2" (see `export.passes.mask_head`).
    """
    sizes, shape = (batch, 0, height, width), []
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        _, _, divisor = dim.dim_param.partition("/")
        part = int(divisor) if divisor.isdigit() else 1
        shape.append(dim.dim_value if dim.HasField("dim_value") else sizes[axis] // part)
    return tuple(shape)
