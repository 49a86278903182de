"""The drop-in for PyTorch: whole networks compute the same with it, and what it cannot replace stays."""

from __future__ import annotations

import operator
from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from shadowdiffusion.kernels import torch_group_norm
from shadowdiffusion.kernels.errors import KernelError
from shadowdiffusion.kernels.group_norm_silu import reference
from shadowdiffusion.kernels.torch_group_norm import accelerate, fuse, fusing, group_norm_silu
from shadowdiffusion.training.denoiser import Denoiser, DenoiserConfig
from tests.kernels.buffers import normal

TINY = DenoiserConfig(base=8, multipliers=(1, 2), blocks=1, groups=4)
NORMS = 18
"""Of TINY: two for each of 2 + 2 + 4 residual blocks, one of the attention, one before the noise."""
OURS = torch.ops.shadowdiffusion.group_norm_silu.default


def denoiser(device: torch.device) -> Denoiser:
    network = Denoiser(TINY).to(device).eval()
    with torch.no_grad():
        for index, parameter in enumerate(network.parameters()):
            values = normal(tuple(parameter.shape), device, index)
            many = parameter.dim() > 1
            parameter.copy_(values / parameter[0].numel() ** 0.5 if many else 1 + 0.1 * values)
    return network


def inputs(device: torch.device, images: int = 1, height: int = 8, width: int = 12) -> list[Tensor]:
    shapes = [(images, channels, height, width) for channels in (3, 1, 3)]
    given = [normal(shape, device, index) for index, shape in enumerate(shapes)]
    return [*given, torch.full((images,), 300.0, device=device)]


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[fx.GraphModule]:
    """Every graph after `fuse`, and a fresh compiler."""
    seen: list[fx.GraphModule] = []

    def watched(graph: fx.GraphModule) -> int:
        count = fuse(graph)
        seen.append(graph)
        return count

    torch._dynamo.reset()
    monkeypatch.setattr(torch_group_norm, "fuse", watched)
    return seen


def called(graph: fx.GraphModule) -> Counter[Any]:
    return Counter(node.target for node in graph.graph.nodes if node.op == "call_function")


@pytest.mark.parametrize(
    ("dtype", "memory", "tolerance"),
    [
        pytest.param(torch.float32, torch.channels_last, 1e-5, marks=pytest.mark.slow),
        pytest.param(torch.float32, torch.contiguous_format, 1e-5, marks=pytest.mark.slow),
        (torch.float16, torch.channels_last, 1e-2),
    ],
)
def test_a_denoiser_computes_the_same(
    dtype: torch.dtype,
    memory: Any,
    tolerance: float,
    device: torch.device,
    graphs: list[fx.GraphModule],
) -> None:
    exact = denoiser(device).double()(*(value.double() for value in inputs(device)))
    plain = denoiser(device).to(dtype).to(memory_format=memory)  # type: ignore[call-overload]
    given = [value.to(dtype) for value in inputs(device)[:3]] + inputs(device)[3:]
    with torch.inference_mode():
        found = accelerate(plain, "eager")(*given)
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == dtype
        assert (one.double() - other).norm() < tolerance * other.norm()
    (graph,) = graphs
    counts = called(graph)
    assert counts[OURS] == NORMS
    assert counts[F.group_norm] == 0
    assert counts[F.silu] == 1  # of the time embedding
    timed = [node.args for node in graph.graph.nodes if node.target == OURS and node.args[5] is not None]
    assert len(timed) == 8  # one for each residual block
    assert sum(node.args[6] for node in graph.graph.nodes if node.target == OURS) == NORMS - 1
    assert counts[torch.full] == 1


@pytest.mark.slow
def test_the_rest_may_be_compiled(device: torch.device, graphs: list[fx.GraphModule]) -> None:
    plain = denoiser(device)
    fast = accelerate(plain)
    for size in ((1, 8, 8), (2, 8, 12)):
        with torch.inference_mode():
            for one, other in zip(fast(*inputs(device, *size)), plain(*inputs(device, *size)), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert [called(graph)[OURS] for graph in graphs] == [NORMS, NORMS]


class Uses(nn.Module):
    """Group normalisations that look alike."""

    def __init__(self, use: str) -> None:
        super().__init__()
        self.use = use
        self.norm = nn.GroupNorm(2, 8, affine=use != "no weights")
        self.whole = nn.Sequential(nn.GroupNorm(4, 8), nn.SiLU())

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        if self.use == "modules":
            return self.whole(x)
        if self.use == "sum read twice":
            s = x + t
            return F.silu(self.norm(s)) + s
        if self.use == "norm read twice":
            y = self.norm(t + x)
            return F.silu(y) + y
        if self.use == "one time for all images":
            return F.silu(self.norm(x + t[:1]))
        if self.use == "a picture is added":
            return F.silu(self.norm(x + x.flip(3)))
        if self.use == "another format":
            return F.silu(self.norm(x.transpose(2, 3)))
        return F.silu(self.norm(x + t))


@pytest.mark.parametrize(
    ("use", "ours", "sums", "silus"),
    [
        ("modules", 1, 0, 0),
        ("sum read twice", 1, 2, 0),
        ("norm read twice", 1, 1, 1),
        ("one time for all images", 1, 0, 0),
        ("a picture is added", 1, 1, 0),
        ("another format", 1, 0, 0),
        ("no weights", 0, 1, 1),
    ],
)
def test_only_what_fits_is_replaced(
    use: str, ours: int, sums: int, silus: int, device: torch.device, graphs: list[fx.GraphModule]
) -> None:
    module, x, t = Uses(use).to(device), normal((2, 8, 3, 5), device, 0), normal((2, 8, 1, 1), device, 1)
    with torch.inference_mode():
        found = torch.compile(module, backend=fusing("eager"), fullgraph=True)(x, t)
        torch.testing.assert_close(found, module(x, t), rtol=1e-5, atol=1e-5)
    counts = called(graphs[0])
    assert (counts[OURS], counts[operator.add], counts[F.silu]) == (ours, sums, silus)


def test_sizes_may_change(device: torch.device, graphs: list[fx.GraphModule]) -> None:
    module = Uses("time")
    fast = accelerate(module.to(device), "aot_eager")
    for size in ((2, 8, 3, 5), (3, 8, 6, 7), (4, 8, 7, 2)):
        x, t = normal(size, device, 0), normal((*size[:2], 1, 1), device, 1)
        with torch.inference_mode():
            torch.testing.assert_close(fast(x, t), module(x, t), rtol=1e-5, atol=1e-5)
    assert len(graphs) == 2  # for the first size, then for any


@pytest.mark.gpu
@pytest.mark.xdist_group("cuda")
def test_under_autocast_nothing_is_replaced(graphs: list[fx.GraphModule]) -> None:
    """There PyTorch normalises in float32 and hands that on, which the kernels would not."""
    device = torch.device("cuda")
    module, x, t = Uses("time").to(device), normal((2, 8, 3, 5), device, 0), normal((2, 8, 1, 1), device, 1)
    with torch.inference_mode(), torch.autocast("cuda", torch.float16):
        found = accelerate(module, "eager")(x.half(), t.half())
    assert found.dtype == torch.float32
    assert called(graphs[0])[OURS] == 0


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("timed", [False, True])
def test_the_operator_is_one_for_the_compiler(memory: Any, timed: bool, device: torch.device) -> None:
    """Its schema, its shapes without data, and its behaviour under tracing, as PyTorch itself checks them."""
    x = normal((2, 6, 3, 5), device, 0).half().to(memory_format=memory)
    weight, bias, eps = normal((6,), device, 1).half(), normal((6,), device, 2), torch.tensor([1e-5], device=device)
    time = normal((1, 6), device, 3).half() if timed else None
    torch.library.opcheck(group_norm_silu, (x, weight, bias, eps, 3, time, True))
    y, _ = reference(x, weight, bias, 3, time=None if time is None else time.expand(2, 6))
    torch.testing.assert_close(group_norm_silu(x, weight, bias, eps, 3, time, True).double(), y, rtol=2e-3, atol=2e-3)


def test_groups_beyond_the_kernels_stay(device: torch.device, graphs: list[fx.GraphModule]) -> None:
    norm = nn.GroupNorm(1, 65).to(device)
    x = normal((1, 65, 2, 2), device, 0)
    with torch.inference_mode():
        torch.testing.assert_close(accelerate(norm, "eager")(x), norm(x))
    assert called(graphs[0])[OURS] == 0


def test_off_the_gpu_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_group_norm, "_interpreted", lambda: False)
    one = torch.ones(4)
    with pytest.raises(KernelError, match="x is on cpu: move the module and its inputs to a CUDA device"):
        group_norm_silu(torch.ones(1, 4, 2, 2), one, one, one[:1], 2, None, True)


def test_there_is_no_derivative(device: torch.device) -> None:
    one = torch.ones(4, device=device)
    x = normal((1, 4, 2, 2), device, 0).requires_grad_()
    with pytest.raises(RuntimeError, match="no autograd formula"):
        group_norm_silu(x, one, one, one[:1], 2, None, True).sum().backward()
