"""3x3 convolutions of many channels become products of matrices: Winograd's F(4x4, 3x3). Exact up to rounding.

A tile of 4x4 outputs takes 36 products of channels instead of 144 (Lavin and Gray, "Fast Algorithms for Convolutional
Neural Networks", CVPR 2016, section 4.3):

    Y = A^T [ (G w G^T) * (B^T X B) ] A,   X: the 6x6 inputs of a tile, w: the kernel, * point by point

Here B^T and A^T of all tiles of an axis are one banded matrix each, INTO [6 tiles, size] and OUT [size, 6 tiles], so
that both transforms are large dense products, which run as fast as the products between them:

    M = INTO_h x INTO_w^T   [6, tiles_h, 6, tiles_w, C] -> 36 products with kernels [C, K] -> y = OUT_h M OUT_w^T

The bands end where the image does: padding, sizes that are no multiple of four and a nearest doubling before the
convolution are only other matrices, nothing is padded and no doubled image is made. Both matrices are made of the
image's size while the graph runs. It pays where channels are many beside rows, and costs four times the weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shadowdiffusion.export.passes.convolution import doubling, plain_kernel
from shadowdiffusion.export.passes.view import View, float_tensor, integer_tensor, replaced

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

Matrix = npt.NDArray[np.float64]

CHANNELS = 200
"""Least harmonic mean of the channels in and out of a convolution that is rewritten."""
TILE, POINTS = 4, 6
"""Outputs of a tile along an axis; its inputs, and the points 0, 1, -1, 2, -2 and infinity."""
B_T: Matrix = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float64,
)
G: Matrix = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], np.float64) / 24
A_T: Matrix = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float64)
REPEATED: Matrix = np.repeat(np.eye(4), (1, 2, 2, 1), axis=0)
"""[input of a tile of a doubled image, pixel that it repeats]."""


def apply(model: ModelProto) -> ModelProto:
    """A copy of `model` with every plain 3x3 convolution of many channels rewritten, and the doubling before it."""
    view = View(model)
    replacements, tensors = dict[str, list["NodeProto"]](), list["TensorProto"]()
    for node in model.graph.node:
        kernel = plain_kernel(view, node)
        if kernel is None or kernel.dtype != np.float32 or 2 / (1 / kernel.shape[0] + 1 / kernel.shape[1]) < CHANNELS:
            continue
        draft = _Draft(node.output[0])
        _rewrite(draft, node, kernel.astype(np.float64), doubling(view, node))
        replacements[node.output[0]] = draft.nodes
        tensors += draft.tensors
    return replaced(model, replacements, tensors)


class _Draft:
    """The nodes and constants that make the value `name`; names of all others begin with it."""

    def __init__(self, name: str) -> None:
        self.name, self.nodes, self.tensors = name, list["NodeProto"](), list["TensorProto"]()

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append a node; the name of its value."""
        from onnx import helper

        value = f"{self.name}.winograd{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [value], name=value, **attributes))
        return value

    def integers(self, *values: int) -> str:
        """A constant of one axis."""
        self.tensors.append(integer_tensor(f"{self.name}.winograd.i{len(self.tensors)}", values))
        return self.tensors[-1].name

    def integer(self, value: int) -> str:
        """A constant scalar."""
        self.tensors.append(integer_tensor(f"{self.name}.winograd.i{len(self.tensors)}", value))
        return self.tensors[-1].name

    def floats(self, values: Matrix) -> str:
        """A constant."""
        self.tensors.append(float_tensor(f"{self.name}.winograd.f{len(self.tensors)}", values))
        return self.tensors[-1].name

    def reshape(self, value: str, *shape: str | int) -> str:
        """`value` with axes of constant sizes, or of sizes that are scalars of the graph."""
        if all(isinstance(size, int) for size in shape):
            return self.node("Reshape", value, self.integers(*(int(size) for size in shape)))
        one = self.integers(0)
        sizes = [self.integers(size) if isinstance(size, int) else self.node("Unsqueeze", size, one) for size in shape]
        return self.node("Reshape", value, self.node("Concat", *sizes, axis=0))


def _rewrite(draft: _Draft, conv: NodeProto, kernel: Matrix, doubles: NodeProto | None) -> None:
    """Nodes for the convolution `conv` by `kernel` [K, C, 3, 3], and for the doubling of its image if there is one."""
    outputs, channels = kernel.shape[:2]
    source = doubles.input[0] if doubles is not None else conv.input[0]
    shape = draft.node("Shape", source)
    count, height, width = (draft.node("Gather", shape, draft.integer(axis)) for axis in (0, 2, 3))
    into_h, out_h, tiles_h, to_h = _transforms(draft, height, doubles is not None)
    into_w, out_w, tiles_w, to_w = _transforms(draft, width, doubles is not None)
    points_h, points_w = (draft.node("Mul", tiles, draft.integer(POINTS)) for tiles in (tiles_h, tiles_w))
    # pixels first, channels last: every product is of long rows then
    x = draft.node("Transpose", source, perm=[2, 3, 0, 1])
    x = draft.node("MatMul", into_h, draft.reshape(x, height, -1))
    x = draft.node("MatMul", into_w, draft.reshape(x, points_h, width, -1))
    x = draft.node("Transpose", draft.reshape(x, POINTS, tiles_h, POINTS, -1), perm=[0, 2, 1, 3])
    kernels = (np.kron(G, G) @ kernel.transpose(2, 3, 1, 0).reshape(9, -1)).reshape(POINTS**2, channels, outputs)
    y = draft.node("MatMul", draft.reshape(x, POINTS**2, -1, channels), draft.floats(kernels))
    y = draft.node("Transpose", draft.reshape(y, POINTS, POINTS, tiles_h, -1), perm=[0, 2, 1, 3])
    y = draft.node("MatMul", out_w, draft.reshape(y, points_h, points_w, -1))
    y = draft.node("MatMul", out_h, draft.reshape(y, points_h, -1))
    y = draft.reshape(y, to_h, to_w, count, outputs)
    for bias in conv.input[2:]:
        y = draft.node("Add", y, bias)
    draft.node("Transpose", y, perm=[2, 3, 0, 1])
    draft.nodes[-1].output[0] = draft.name


def _transforms(draft: _Draft, size: str, doubled: bool) -> tuple[str, str, str, str]:
    """For an axis of `size` pixels: INTO and OUT of the module's text, the number of tiles, the size of the result."""
    step = TILE // 2 if doubled else TILE
    to = draft.node("Mul", size, draft.integer(2)) if doubled else size
    tiles = draft.node("Div", draft.node("Add", to, draft.integer(TILE - 1)), draft.integer(TILE))
    into = _banded(draft, B_T @ REPEATED if doubled else B_T, step, -1, tiles, size)
    return into, draft.node("Transpose", _banded(draft, A_T.T, TILE, 0, tiles, to)), tiles, to


def _banded(draft: _Draft, tile: Matrix, step: int, first: int, tiles: str, size: str) -> str:
    """[POINTS tiles, size] with `tile` [POINTS, extent] for every tile k from column k step + first on, else 0."""
    zero, one = draft.integer(0), draft.integer(1)
    column = draft.node("Range", zero, size, one)
    begin = draft.node("Mul", draft.node("Range", zero, tiles, one), draft.integer(step))
    begin = draft.node("Unsqueeze", begin, draft.integers(1))
    place = draft.node("Add", draft.node("Sub", column, begin), draft.integer(1 - first))
    place = draft.node("Clip", place, zero, draft.integer(tile.shape[1] + 1))  # 0 and the last: outside the tile
    padded = draft.floats(np.pad(tile, ((0, 0), (1, 1))))
    return draft.reshape(draft.node("Gather", padded, place, axis=1), -1, size)
