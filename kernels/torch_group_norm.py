"""Every group normalisation of a PyTorch module by `kernels.group_norm_silu`, for inference on a GPU.

    fast = accelerate(denoiser)
    with torch.inference_mode():
        noise, mask = fast(y, mask, x_t, t)

Works on any module that `torch.compile` can trace, since the pattern is looked for in its graph:

    group_norm(x + b[:, :, None, None]) and silu after it    ->    one custom operator, three kernels

The sum with a value per channel (the time embedding) and the activation are optional. The operator has no derivative.
"""

import operator
from collections.abc import Callable
from inspect import signature
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from shadowdiffusion.kernels import group_norm_silu as kernels
from shadowdiffusion.kernels.arguments import NETWORK_TYPES
from shadowdiffusion.kernels.errors import KernelError

Module = TypeVar("Module", bound=nn.Module)


@torch.library.custom_op("shadowdiffusion::group_norm_silu", mutates_args=())
def group_norm_silu(
    x: Tensor, weight: Tensor, bias: Tensor, eps: Tensor, groups: int, time: Tensor | None, silu: bool
) -> Tensor:
    """group_norm(x + time), then silu if asked for: [N, C, H, W] in the type and memory format of x.

    x: float32, float16 or bfloat16, in either format; another is copied to contiguous planes. weight, bias: [C];
    eps: [1]; time: [N, C] or [1, C]; each of any precision, computed with in float32. Raises KernelError for what
    the kernels do not support, and off the GPU.
    """
    if not (x.is_cuda or _interpreted()):
        raise KernelError(f"x is on {x.device}: move the module and its inputs to a CUDA device")
    x = _dense(x)
    if time is not None:
        time = time.float().expand(x.shape[:2]).contiguous()
    gamma, beta, epsilon = (tensor.float().contiguous() for tensor in (weight, bias, eps))
    with torch.cuda.device_of(x):  # Triton launches on the current device
        return kernels.group_norm_silu(torch.empty_like(x), x, gamma, beta, epsilon, groups, time=time, silu=silu)


@group_norm_silu.register_fake
def _shaped(
    x: Tensor, weight: Tensor, bias: Tensor, eps: Tensor, groups: int, time: Tensor | None, silu: bool
) -> Tensor:
    return torch.empty_like(_dense(x))


def _dense(x: Tensor) -> Tensor:
    dense = x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)
    return x if dense else x.contiguous()


def _interpreted() -> bool:
    from triton import knobs

    return bool(knobs.runtime.interpret)


def accelerate(module: Module, then: str = "inductor") -> Module:
    """`module` compiled with the fused operator; it shares its parameters and is called like it.

    then: the backend of `torch.compile` that runs the rest of the graph, "eager" to run it as it is.
    """
    return cast(Module, torch.compile(module, backend=fusing(then)))


def fusing(then: str = "inductor") -> Callable[[fx.GraphModule, list[Any]], Any]:
    """The backend for `torch.compile` behind `accelerate`, for those who compile with options of their own."""

    def backend(graph: fx.GraphModule, inputs: list[Any]) -> Any:
        from torch._dynamo.backends.registry import lookup_backend

        fuse(graph)
        return lookup_backend(then)(graph, inputs)

    return backend


def fuse(module: fx.GraphModule) -> int:
    """Replace the group normalisations that the kernels support, in place; returns how many.

    module: as `torch.compile` hands it to a backend, every node with its `example_value`.
    """
    graph, eps = module.graph, dict[float, fx.Node]()
    first = next(node for node in graph.nodes if node.op != "placeholder")
    found = [node for node in graph.nodes if _calls(node, F.group_norm) and _supported(node)]
    for norm in found:
        given = _arguments(norm)
        if given["eps"] not in eps:  # one for all, filled once per call
            with graph.inserting_before(first):
                settings: dict[str, Any] = {"device": _example(norm).device, "dtype": torch.float32}
                eps[given["eps"]] = graph.call_function(torch.full, ((1,), given["eps"]), settings)
        users = list(norm.users)
        silu = len(users) == 1 and _calls(users[0], F.silu)
        last = users[0] if silu else norm
        x, time = _apart(given["input"], norm)
        with graph.inserting_before(last):
            if time is not None:
                time = graph.call_function(torch.flatten, (time, 1))
            inputs = (x, given["weight"], given["bias"], eps[given["eps"]], given["num_groups"], time, silu)
            fused = graph.call_function(torch.ops.shadowdiffusion.group_norm_silu.default, inputs)
        fused.meta = dict(last.meta)
        last.replace_all_uses_with(fused)
        for old in (last, norm, given["input"]) if silu else (norm, given["input"]):
            if not old.users and old.op == "call_function":
                graph.erase_node(old)
    module.recompile()
    return len(found)


def _calls(node: fx.Node, function: Callable[..., Any]) -> bool:
    return node.op == "call_function" and node.target is function


def _example(node: fx.Node) -> Tensor:
    """What stands for the value of a node while the graph is compiled."""
    example: Tensor = node.meta["example_value"]
    return example


def _arguments(norm: fx.Node) -> dict[str, Any]:
    bound = signature(F.group_norm).bind(*norm.args, **norm.kwargs)
    bound.apply_defaults()
    return bound.arguments


def _supported(norm: fx.Node) -> bool:
    """Whether the kernels can take the place of a group normalisation, and give the type that it gives."""
    given, result = _arguments(norm), _example(norm)
    x = _example(given["input"])
    return (
        given["weight"] is not None
        and given["bias"] is not None
        and x.ndim == 4
        and x.dtype == result.dtype  # under autocast they differ
        and str(x.dtype).removeprefix("torch.") in NETWORK_TYPES
        and x.shape[1] // given["num_groups"] <= kernels.GROUP_CHANNELS
    )


def _apart(x: fx.Node, norm: fx.Node) -> tuple[fx.Node, fx.Node | None]:
    """(a, b) if x is a + b, b one value per image and channel, and only `norm` reads it; else (x, None)."""
    if x.target not in (operator.add, torch.add) or x.kwargs or list(x.users) != [norm]:
        return x, None
    pairs = [x.args, x.args[::-1]]
    for a, b in pairs:
        if isinstance(a, fx.Node) and isinstance(b, fx.Node):
            whole, each = _example(a), _example(b)
            same = whole.shape == _example(x).shape and whole.dtype == _example(x).dtype
            if same and each.ndim == 4 and each.shape[1:] == (whole.shape[1], 1, 1):
                return a, b
    return x, None
