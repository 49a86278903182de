"""TensorRT's quickly deployable plugins for the nodes of `export.passes.group_norm_plugin`, compiled ahead of time.

TensorRT asks for the kernel of each plugin while it builds, takes one, as PTX, and keeps it in the engine: whoever runs
that needs neither this file nor Triton. Written for `tensorrt.plugin` of TensorRT 10.9 to 11.1, from its documentation
and its Python source. Compile-tested, not run: full TensorRT has not been at hand.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from itertools import takewhile
from typing import Any

from shadowdiffusion.export.engines.key import EngineOptions
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes.group_norm_plugin import MERGE, NAMESPACE, SILU, STATISTICS
from shadowdiffusion.runtime.bundle.engines import EngineKey
from shadowdiffusion.runtime.selection.profile import image_sizes

LARGEST = 64 * 65535
"""Pixels that the programs along one axis of a grid can cover."""


def check_plugins(trt: Any, title: str, key: EngineKey, options: EngineOptions) -> None:
    """Raise ExportError unless this TensorRT takes plugins written in Python, and those here suit the engine."""
    try:
        importlib.import_module(f"{trt.__name__}.plugin").aot_impl  # noqa: B018
    except (ImportError, AttributeError) as error:
        reason = "it takes no plugins compiled ahead of time from Python, as TensorRT does from 10.9 on"
        raise ExportError(f"group-norm-plugin does not go with {title}: {reason}") from error
    if options.hardware_compatible:
        raise ExportError("group-norm-plugin does not go with --hardware-compatible: it is compiled for one GPU")
    height, width = image_sizes(key)[2]
    if height * width > LARGEST:
        raise ExportError(
            f"group-norm-plugin takes up to {LARGEST} pixels: {height}x{width} are more, leave out --with"
        )


def register_plugins(trt: Any, sm: int) -> None:
    """Tell TensorRT about the plugins, compiled for `sm`: once in a process, as it keeps them."""
    from shadowdiffusion.kernels import group_norm_plugin as kernels

    trtp = importlib.import_module(f"{trt.__name__}.plugin")
    if hasattr(trtp.op, NAMESPACE):
        return
    register(trt, trtp, sm, STATISTICS, kernels.statistics_plugin)
    register(trt, trtp, sm, MERGE, kernels.merge_plugin)
    register(trt, trtp, sm, SILU, kernels.normalise_plugin)


def register(trt: Any, trtp: Any, sm: int, name: str, kernel: Any) -> None:
    """One plugin: the result's shape and type, the types and formats it takes, and its kernel with its launch."""
    from shadowdiffusion.kernels import group_norm_plugin as kernels
    from shadowdiffusion.kernels.ahead_of_time import ptx

    names = list(takewhile(lambda argument: argument not in kernels.NUMBERS, kernel.arg_names))
    kinds = {trt.DataType.FLOAT: "fp32", trt.DataType.HALF: "fp16", trt.DataType.BF16: "bf16"}
    follows_x, merges = kernel is kernels.normalise_plugin, kernel is kernels.merge_plugin

    def described(x: Any, *others: Any) -> Any:
        if follows_x:
            return x.like()
        shape = (x.shape_expr[0], x.shape_expr[1], 2, *(() if merges else (kernels.PARTS,)))
        return trtp.from_shape_expr(shape, trt.DataType.FLOAT)

    def formats(x: Any, *others: Any) -> list[Any]:
        """x, and what follows it: in planes, or, of half precision, also with the channels of a pixel together."""
        kind = kinds[x.dtype].upper()
        layout = "LINEAR" if kind == "FP32" else "LINEAR|HWC8" if follows_x else "LINEAR*HWC8"
        types, layouts = [kind, *["FP32"] * len(names)], [layout, *["LINEAR"] * len(names)]
        if follows_x:
            types[-1], layouts[-1] = kind, layout
        return [trtp.AutoTuneCombination(", ".join(types), ", ".join(layouts))]

    def compiled(*arguments: Any) -> Any:
        inputs = dict(zip(names, arguments, strict=False))
        x = inputs["x"]
        group_channels, shared = 1, False
        if merges:
            rows = inputs["time"].shape_expr[0]
            shared = rows.is_constant and rows.constant_value() == 1
            group_channels = inputs["weight"].shape_expr[1].constant_value()  # weights are part of the graph
        variant = kernels.variant(kernel, kinds[x.dtype], x.format == trt.TensorFormat.LINEAR, shared, group_channels)
        entry, text, memory = ptx(variant, sm)
        grid, numbers = kernels.launch(kernel, x.shape_expr, group_channels, trtp.cdiv)
        params = trtp.KernelLaunchParams()
        params.grid_x, params.grid_y = grid
        params.block_x, params.shared_mem = 32 * variant.warps, memory
        return entry, text, params, trtp.SymIntExprs.from_tuple([trtp.SymInt32(number) for number in numbers])

    plugin, tensor = f"{NAMESPACE}::{name}", trtp.TensorDesc
    trtp.register(plugin)(_signed(described, names, tensor, tensor))
    trtp.autotune(plugin)(_signed(formats, [*names, "outputs"]))
    result = tuple[str, str, trtp.KernelLaunchParams, trtp.SymIntExprs]
    trtp.aot_impl(plugin)(_signed(compiled, [*names, "outputs", "tactic"], returns=result))


def _signed(
    function: Callable[..., Any], names: Sequence[str], kind: Any = Parameter.empty, returns: Any = Parameter.empty
) -> Callable[..., Any]:
    """The function with the signature that TensorRT reads names and types from."""
    parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, annotation=kind) for name in names]
    function.__signature__ = Signature(parameters, return_annotation=returns)  # type: ignore[attr-defined]
    return function
