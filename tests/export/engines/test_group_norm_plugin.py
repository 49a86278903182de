"""The plugins of TensorRT, with a TensorRT made in Python: its part of the work is `fake_plugins`, which see.

Real are the graph pass, the registration, the launch expressions, and the kernels, which run in Triton's interpreter
with the arguments in the order in which TensorRT gives them. Real PTX is made in a process of its own.
"""

from __future__ import annotations

import json
import sys
from math import ceil
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from typer.testing import CliRunner

from shadowdiffusion.export.commands.cli import app
from shadowdiffusion.export.engines import group_norm_plugin as plugins
from shadowdiffusion.export.engines.key import EngineOptions, engine_key
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes import group_norm_plugin as graph_pass
from shadowdiffusion.export.precision.mixed import mixed_graph, single_graph
from shadowdiffusion.kernels import ahead_of_time
from shadowdiffusion.kernels import group_norm_plugin as kernels
from shadowdiffusion.runtime.bundle.folder import Bundle
from tests.compiled_kernels import compiling
from tests.export.engines.fake_plugins import DataType, FakePlugins, ShapeExpr, TensorDesc, TensorFormat
from tests.export.passes.graphs import images, kinds

KERNELS = {
    graph_pass.STATISTICS: kernels.statistics_plugin,
    graph_pass.MERGE: kernels.merge_plugin,
    graph_pass.SILU: kernels.normalise_plugin,
}
TYPES = {np.dtype(np.float32): DataType.FLOAT, np.dtype(np.float16): DataType.HALF}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakePlugins:
    """TensorRT with the plugins registered, in place of PTX the variant that would have been compiled."""
    made = FakePlugins()
    monkeypatch.setitem(sys.modules, "fake_tensorrt", made.trt)
    monkeypatch.setitem(sys.modules, "fake_tensorrt.plugin", made)
    monkeypatch.setattr(ahead_of_time, "ptx", lambda variant, sm: (variant.name, variant, 512))
    plugins.register_plugins(made.trt, 90)
    return made


GROUPS = 16


def described(shape: tuple[int, ...], kind: DataType, layout: str = "LINEAR", dynamic: bool = False) -> TensorDesc:
    sizes = [ShapeExpr(size, not dynamic or axis == 1) for axis, size in enumerate(shape)]
    return TensorDesc(sizes, kind, TensorFormat[layout])


def descriptions(fake: FakePlugins, name: str, shape: tuple[int, ...], kind: DataType, layout: str) -> list[TensorDesc]:
    """The inputs of a plugin, for x of that shape, of which TensorRT knows the channels alone."""
    images, channels = shape[:2]
    others = {
        "x": described(shape, kind, layout, dynamic=True),
        "statistics": described((images, channels, 2, kernels.PARTS), DataType.FLOAT),
        "affine": described((images, channels, 2), DataType.FLOAT),
        "weight": described((GROUPS, channels // GROUPS), DataType.FLOAT),
        "eps": described((1,), DataType.FLOAT),
        "time": described((1, channels, 1, 1), DataType.FLOAT),
        "bias": described((channels,), DataType.FLOAT),
    }
    return [others[each] for each in fake.plugins[name].inputs]


def launch(fake: FakePlugins, name: str, inputs: list[TensorDesc]) -> tuple[Any, tuple[int, int, int], list[int]]:
    """The variant, the programs and the integers with which TensorRT would launch a plugin."""
    plugin = fake.plugins[name]
    _, variant, params, extra = plugin.compiled(*inputs, (plugin.described(*inputs),), 0)
    assert params.block_x.value == 32 * variant.warps
    assert params.shared_mem.value == 512
    return variant, (params.grid_x.value, params.grid_y.value, params.grid_z.value), [item.value for item in extra]


def test_plugins_are_registered_once(fake: FakePlugins) -> None:
    assert fake.plugins.keys() == KERNELS.keys()
    plugins.register_plugins(fake.trt, 90)
    assert fake.plugins[graph_pass.MERGE].inputs == ["x", "statistics", "weight", "eps", "time"]


@pytest.mark.parametrize("kind", [DataType.FLOAT, DataType.HALF, DataType.BF16])
@pytest.mark.parametrize("name", KERNELS)
def test_shapes_types_and_formats(fake: FakePlugins, name: str, kind: DataType) -> None:
    plugin, inputs = fake.plugins[name], descriptions(fake, name, (2, 96, 24, 40), kind, "LINEAR")
    assert len(inputs) == len(plugin.inputs)
    result = plugin.described(*inputs)
    shape = {graph_pass.STATISTICS: [2, 96, 2, 128], graph_pass.MERGE: [2, 96, 2], graph_pass.SILU: [2, 96, 24, 40]}
    assert [size.value for size in result.shape_expr] == shape[name]
    assert result.dtype == (kind if name == graph_pass.SILU else DataType.FLOAT)
    (combination,) = plugin.formats(*inputs, (result,))
    types, layouts = combination.io_types.split(", "), combination.layouts.split(", ")
    follows = name == graph_pass.SILU
    assert types == [kind.value, *["FP32"] * (len(inputs) - follows), *[kind.value] * follows]
    assert len(layouts) == len(types)
    choice = {"LINEAR"} if kind == DataType.FLOAT else {"LINEAR", "HWC8"}
    assert set(layouts[0].replace("*", "|").split("|")) == choice
    assert (layouts[-1] == layouts[0]) if follows else set(layouts[1:]) == {"LINEAR"}


@pytest.mark.parametrize("layout", ["LINEAR", "HWC8"])
@pytest.mark.parametrize("shape", [(1, 16, 1, 1), (2, 96, 24, 40), (1, 64, 257, 255), (4, 1024, 32, 32)])
def test_launches_are_those_of_the_python_launcher(
    fake: FakePlugins, shape: tuple[int, ...], layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of PyTorch tensors with the channels of a pixel together, which divides the pixels as the plugins do."""
    from shadowdiffusion.kernels import group_norm_silu as base

    noted: dict[str, tuple[Any, dict[str, Any]]] = {}

    class Noting:
        def __init__(self, kernel: Any) -> None:
            self.kernel = kernel

        def __getitem__(self, grid: Any) -> Any:
            def note(*arguments: Any, **options: Any) -> None:
                noted[self.kernel.__name__] = grid, dict(zip(self.kernel.arg_names, arguments, strict=False)) | options

            return note

    parts = ("partial_statistics_kernel", "merge_statistics_kernel", "normalise_kernel")
    for part in parts:
        monkeypatch.setattr(base, part, Noting(getattr(base, part)))
    monkeypatch.setattr(base, "_tile", lambda x: (0, kernels.PIXELS, base.NHWC_CHANNELS))
    x, one = torch.zeros(shape), torch.ones(shape[1])
    base.group_norm_silu(x, x, one, one, one[:1], GROUPS)
    for name, part in zip(KERNELS, parts, strict=True):
        variant, grid, numbers = launch(fake, name, descriptions(fake, name, shape, DataType.HALF, layout))
        expected, values = noted[part]
        assert grid == (*expected, 1, 1)[:3]
        names = [name for name, kind in variant.types.items() if kind == "i32"]
        assert dict(zip(names, numbers, strict=True)) == {name: values[name] for name in names}
        assert variant.warps == values["num_warps"]
        assert variant.constants.get("PIXEL_STRIDE", 0) == (layout == "LINEAR") * ("PIXEL_STRIDE" in variant.constants)
        known = dict(zip(names, numbers, strict=True)) | {"images": shape[0], "ceil": ceil}
        assert tuple(eval(text, {}, known) for text in variant.grid) == grid
        assert all(known.get(name, 0) % 16 == 0 for name in variant.aligned), variant.name


def operators(fake: FakePlugins, layout: str) -> list[type[OpRun]]:
    """The nodes of the graph pass for ONNX's reference evaluator: each launches its kernel as TensorRT would."""

    def make(name: str) -> type[OpRun]:
        def run(self: Any, *arrays: Any, plugin_namespace: str, aot: int) -> tuple[Any]:
            assert (plugin_namespace, aot) == (graph_pass.NAMESPACE, 1)
            chosen = layout if arrays[0].dtype == np.float16 else "LINEAR"
            given = [described(each.shape, TYPES[each.dtype], dynamic=index == 0) for index, each in enumerate(arrays)]
            given[0].format = TensorFormat[chosen]
            result = fake.plugins[name].described(*given)
            variant, grid, numbers = launch(fake, name, given)
            inputs = [torch.tensor(np.ascontiguousarray(array)) for array in arrays]
            kind = torch.float16 if result.dtype == DataType.HALF else torch.float32
            out = torch.full([size.value for size in result.shape_expr], float("nan"), dtype=kind)
            if chosen == "HWC8":
                inputs[0] = inputs[0].to(memory_format=torch.channels_last)
                if name == graph_pass.SILU:
                    out = out.to(memory_format=torch.channels_last)
            variant.kernel[grid](*inputs, *numbers, out, **variant.constants)
            return (out.contiguous().numpy(),)

        return type(name, (OpRun,), {"op_domain": graph_pass.NAMESPACE, "_run": run})

    return [make(name) for name in KERNELS]


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize(("precision", "layout"), [("fp32", "LINEAR"), ("fp16", "LINEAR"), ("fp16", "HWC8")])
def test_a_denoiser_computes_the_same(fake: FakePlugins, bundle: Bundle, precision: str, layout: str) -> None:
    model = single_graph(onnx.load_model(bundle.path / "denoiser.onnx"))
    rows = np.load(bundle.path / "denoiser.rows.npy")
    feed = images(model, 2, 16, 32) | {"row": rows[3, None]}
    plain = model if precision == "fp32" else mixed_graph(model)
    changed = graph_pass.apply(plain)
    norms = kinds(plain).count("InstanceNormalization")
    assert kinds(changed).count(graph_pass.SILU) == norms - 1 > 10  # that of the attention has no activation
    found = ReferenceEvaluator(changed, new_ops=operators(fake, layout)).run(None, feed)
    expected, exact = ReferenceEvaluator(plain).run(None, feed), ReferenceEvaluator(model).run(None, feed)
    for one, other, truth in zip(found, expected, exact, strict=True):
        error = np.linalg.norm(one - truth) / np.linalg.norm(truth)
        if precision == "fp32":
            assert error < 1e-5
        else:  # no further from float32 than the graph that it replaces, whose roundings it shares
            assert error < 1.3 * np.linalg.norm(other - truth) / np.linalg.norm(truth)


SCRIPT = """
import json, tempfile
from pathlib import Path
from shadowdiffusion.kernels import group_norm_plugin as plugins
from shadowdiffusion.kernels.ahead_of_time import _clean_compiler, _compile, _resource_usage, ptx
found = []
for kernel in (plugins.statistics_plugin, plugins.merge_plugin, plugins.normalise_plugin):
    merges = kernel is plugins.merge_plugin
    for kind, planar, group in (("fp16", False, 4), ("bf16", True, 32), ("fp32", True, 64)):
        for sm in (80, 90, 120):
            variant = plugins.variant(kernel, kind, planar, True, group)
            entry, text, shared = ptx(variant, sm)
            with _clean_compiler(), tempfile.TemporaryDirectory() as folder:
                cubin = Path(folder) / "cubin"
                cubin.write_bytes(_compile(variant, sm).asm["cubin"])
                registers, spilled = _resource_usage(cubin)
            assert spilled == 0
            assert registers <= (variant.registers if group > 32 or not merges else 80), (variant.name, sm, registers)
            found.append([sm, entry, list(variant.types.values()), text, shared])
print(json.dumps(found))
"""
ISA = {80: 8.0, 90: 8.0, 120: 8.7}
"""The first version of PTX that has a compute capability."""


def test_every_plugin_compiles_to_ptx_with_the_arguments_that_tensorrt_gives() -> None:
    """Within its registers, of which groups of few channels need few, and for the oldest assembler that will do."""
    found = json.loads(compiling("-c", SCRIPT))
    assert len(found) == 27
    for sm, entry, types, text, shared in found:
        assert f".visible .entry {entry}(" in text
        head = text.partition(".entry")[2].partition(")")[0]
        given = [line.split()[1].removeprefix(".") for line in head.splitlines() if line.strip().startswith(".param")]
        # Triton's two scratch pointers come last; TensorRT makes null what it has no argument for
        assert given == ["u32" if kind == "i32" else "u64" for kind in types] + ["u64", "u64"]
        assert shared <= 48 * 1024  # more would have to be asked for
        assert float(text.partition(".version")[2].split()[0]) == ISA[sm]
        statistics = [line for line in text.splitlines() if "ld.global" in line and ".v4" in line]
        assert statistics or "merge" not in entry, "statistics are read one by one"
        assert ".s64" not in "".join(line for line in text.splitlines() if "\trem" in line or "\tdiv" in line)
        assert "global_scratch" not in text


def test_what_does_not_go_with_the_plugins_is_one_line(bundle: Bundle, fake: FakePlugins) -> None:
    def check(trt: Any, **changes: Any) -> None:
        options = EngineOptions("tensorrt-rtx", sm=(89,), passes={"group-norm-plugin": True}, **changes)
        plugins.check_plugins(trt, "TensorRT 10.8", engine_key(options, bundle, "1", None), options)

    check(fake.trt)
    with pytest.raises(ExportError, match=r"does not go with TensorRT 10\.8: it takes no plugins compiled ahead"):
        check(SimpleNamespace(__name__="no_such_tensorrt"))
    with pytest.raises(ExportError, match="--hardware-compatible"):
        check(fake.trt, hardware_compatible=True)
    with pytest.raises(ExportError, match="2048x2064 are more"):
        check(fake.trt, profile="64x64:64x64:2048x2064")


def test_tensorrt_for_rtx_has_no_plugins_in_python(bundle: Bundle) -> None:
    pytest.importorskip("tensorrt_rtx")
    arguments = ["build-engine", str(bundle.path), "--backend", "tensorrt-rtx", "--sm", "89"]
    result = CliRunner().invoke(app, [*arguments, "--with", "group-norm-plugin"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "group-norm-plugin does not go with TensorRT for RTX" in result.stderr
