"""What TensorRT 10.9 to 11.1 does with quickly deployable plugins, as far as ours use it, after its Python source.

Signatures are checked as there. Sizes are symbols that only turn into numbers when a plugin is launched; a launch
gives the kernel the inputs, the integers and the outputs, in this order. What plays the kernel is up to the test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from inspect import Parameter, signature
from types import SimpleNamespace
from typing import Any, get_args, get_origin


class DataType(Enum):
    FLOAT = "FP32"
    HALF = "FP16"
    BF16 = "BF16"
    INT32 = "INT32"


class TensorFormat(Enum):
    LINEAR = "LINEAR"
    HWC8 = "HWC8"


class SymInt32:
    """An integer expression: known when the network is built, or not before its inputs are."""

    def __init__(self, value: int | SymInt32, known: bool = True) -> None:
        self.value: int = value.value if isinstance(value, SymInt32) else value
        self.known: bool = value.known if isinstance(value, SymInt32) else known


class ShapeExpr(SymInt32):
    def _with(self, other: int | ShapeExpr, work: Callable[[int, int], int]) -> ShapeExpr:
        second = SymInt32(other)
        return ShapeExpr(work(self.value, second.value), self.known and second.known)

    def __mul__(self, other: int | ShapeExpr) -> ShapeExpr:
        return self._with(other, lambda a, b: a * b)

    @property
    def is_constant(self) -> bool:
        return self.known

    def constant_value(self) -> int:
        assert self.known, "the value of an expression is asked for that is not constant"
        return self.value


def cdiv(first: int | ShapeExpr, second: int | ShapeExpr) -> ShapeExpr:
    assert isinstance(first, ShapeExpr) or isinstance(second, ShapeExpr), "two integers are not accepted"
    return ShapeExpr(first)._with(second, lambda a, b: -(-a // b))


@dataclass
class TensorDesc:
    shape_expr: list[ShapeExpr]
    dtype: DataType
    format: TensorFormat | None = None

    def like(self) -> TensorDesc:
        return TensorDesc(list(self.shape_expr), self.dtype)


def from_shape_expr(shape: tuple[int | ShapeExpr, ...], dtype: DataType) -> TensorDesc:
    return TensorDesc([size if isinstance(size, ShapeExpr) else ShapeExpr(size) for size in shape], dtype)


class KernelLaunchParams:
    def __init__(self) -> None:
        for name in ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z"):
            setattr(self, name, 1)
        self.shared_mem = 0

    def __setattr__(self, name: str, value: int | SymInt32) -> None:
        object.__setattr__(self, name, SymInt32(value))


class SymIntExprs(list[SymInt32]):
    @classmethod
    def from_tuple(cls, values: Sequence[SymInt32]) -> SymIntExprs:
        assert all(isinstance(value, SymInt32) for value in values), "a plain integer loses its type here"
        return cls(values)


@dataclass
class AutoTuneCombination:
    io_types: str
    layouts: str


@dataclass
class Plugin:
    """What has been registered under one name."""

    inputs: list[str]
    described: Callable[..., Any]
    formats: Callable[..., Any] = field(init=False)
    compiled: Callable[..., Any] = field(init=False)


class FakePlugins:
    """`tensorrt.plugin`; `trt` is `tensorrt` itself."""

    TensorDesc, KernelLaunchParams, SymIntExprs, SymInt32 = TensorDesc, KernelLaunchParams, SymIntExprs, SymInt32
    AutoTuneCombination = AutoTuneCombination
    cdiv, from_shape_expr = staticmethod(cdiv), staticmethod(from_shape_expr)

    def __init__(self) -> None:
        self.op = SimpleNamespace()
        self.plugins: dict[str, Plugin] = {}
        self.trt = SimpleNamespace(__name__="fake_tensorrt", DataType=DataType, TensorFormat=TensorFormat)

    def register(self, name: str) -> Callable[[Any], Any]:
        def decorate(function: Any) -> Any:
            namespace, _, plain = name.partition("::")
            known = self.op.__dict__.setdefault(namespace, SimpleNamespace())
            assert not hasattr(known, plain), "a name can be registered once"
            found = signature(function)
            assert all(item.annotation is TensorDesc for item in found.parameters.values())
            assert all(item.kind is Parameter.POSITIONAL_OR_KEYWORD for item in found.parameters.values())
            assert found.return_annotation is TensorDesc
            self.plugins[plain] = Plugin(list(found.parameters), function)
            setattr(known, plain, self.plugins[plain])
            return function

        return decorate

    def autotune(self, name: str) -> Callable[[Any], Any]:
        def decorate(function: Any) -> Any:
            plugin = self.plugins[name.partition("::")[2]]
            assert list(signature(function).parameters) == [*plugin.inputs, "outputs"]
            plugin.formats = function
            return function

        return decorate

    def aot_impl(self, name: str) -> Callable[[Any], Any]:
        def decorate(function: Any) -> Any:
            plugin, found = self.plugins[name.partition("::")[2]], signature(function)
            assert list(found.parameters) == [*plugin.inputs, "outputs", "tactic"]
            assert get_origin(found.return_annotation) is tuple
            assert get_args(found.return_annotation) == (str, str, KernelLaunchParams, SymIntExprs)
            plugin.compiled = function
            return function

        return decorate
