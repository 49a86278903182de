"""Convolutions in 8 bits: the arithmetic, the form that engines fold, and the whole way to an engine."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from shadowdiffusion.export.commands.console import quiet_bar
from shadowdiffusion.export.engines.build import build_engines
from shadowdiffusion.export.engines.key import EngineOptions
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.precision.fp8 import FLOAT8, fp8_scheme
from shadowdiffusion.export.precision.int8 import ONNX_RUNTIME, TENSORRT, int8_scheme
from shadowdiffusion.export.precision.mixed import mixed_graph, single_graph
from shadowdiffusion.export.precision.networks import session
from shadowdiffusion.export.precision.prepare import Prepared, prepare
from shadowdiffusion.export.precision.quantize import Scheme, convolutions, quantized_graph, tensors
from shadowdiffusion.export.precision.simulate import simulated
from shadowdiffusion.runtime.bundle.engines import EngineKey, Precision, Provider
from shadowdiffusion.runtime.bundle.folder import DENOISER, Bundle
from tests.export.precision.test_mixed import graph, weight
from tests.export.precision.test_simulate import feed_of

SCHEMES = {"onnxruntime": ONNX_RUNTIME, "tensorrt int8": TENSORRT, "tensorrt fp8": FLOAT8}


def key(precision: Precision, backend: Any = "tensorrt-rtx", sm: tuple[int, ...] = (89,)) -> EngineKey:
    provider: Provider | None = "cpu" if backend == "onnxruntime" else None
    return EngineKey(None, list(sm), None, backend, "1", provider, {}, precision, "64x64", "1:1:1", 3, [])


def prepared(bundle: Bundle, precision: Precision, backend: Any = "tensorrt-rtx", gate: float = 25.0) -> Prepared:
    return prepare(bundle, key(precision, backend), gate, (), lambda line: None, quiet_bar)


def one_convolution() -> tuple[onnx.ModelProto, Any, dict[str, tuple[float, float]]]:
    bias = np.array([0.1, -0.2, 0.3, 0.0], np.float32)
    model = graph([helper.make_node("Conv", ["x", "w", "b"], ["y"], name="c")], {"w": weight(), "b": bias})
    x = np.random.default_rng(1).uniform(-0.3, 1, (1, 4, 9, 7)).astype(np.float32)
    (y,) = session(model).run(None, {"x": x})
    return model, x, {"x": (float(x.min()), float(x.max())), "y": (float(y.min()), float(y.max()))}


@pytest.mark.parametrize(
    ("name", "half"),
    [(name, half) for name in SCHEMES for half in (False, True) if not (half and SCHEMES[name].outputs)],
)
def test_a_convolution_is_near_in_every_form(name: str, half: bool) -> None:
    scheme = SCHEMES[name]
    model, x, ranges = one_convolution()
    base = mixed_graph(model) if half else model
    low = quantized_graph(base, model, ranges, scheme, frozenset())
    onnx.checker.check_model(low, full_check=True)
    exact, found = (session(simulated(each)).run(["y"], {"x": x})[0] for each in (model, low))
    error = float(np.abs(found - exact).max() / np.abs(exact).max())
    assert 1e-4 < error < (0.08 if scheme is FLOAT8 else 0.03)


def test_weights_have_a_scale_per_channel() -> None:
    model, _, ranges = one_convolution()
    low = quantized_graph(model, model, ranges, ONNX_RUNTIME, frozenset())
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in low.graph.initializer}
    stored = constants["c.weight.quantized"]
    assert stored.dtype == np.int8
    assert np.abs(stored).max(axis=(1, 2, 3)).tolist() == [64] * 4
    np.testing.assert_allclose(
        stored * constants["c.weight.quantized.scale"].reshape(-1, 1, 1, 1),
        weight(),
        atol=constants["c.weight.quantized.scale"].max(),
    )
    assert constants["c.bias.quantized"].dtype == np.int32


@pytest.mark.parametrize(("limit", "exact"), [(int(ONNX_RUNTIME.weight_limit), True), (127, False)])
def test_no_pair_of_products_saturates_16_bits(limit: int, exact: bool) -> None:
    """vpmaddubsw, with which ONNX Runtime multiplies on a CPU without VNNI: unsigned activations times signed weights,
    added up in pairs with saturation.
    """
    rng = np.random.default_rng(3)
    weights = np.append(rng.integers(-limit, limit + 1, 4094), [limit, limit]).astype(np.int32)
    activations = np.append(rng.integers(0, 256, 4094), [255, 255]).astype(np.int32)
    pairs = (activations * weights).reshape(-1, 2).sum(axis=1)
    saturated = pairs.clip(-(2**15), 2**15 - 1)
    assert (saturated.sum() == pairs.sum()) == exact


def test_onnx_runtime_folds_it_into_an_integer_convolution(tmp_path: Path) -> None:
    import onnxruntime

    model, _, ranges = one_convolution()
    low = quantized_graph(model, model, ranges, ONNX_RUNTIME, frozenset())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(low.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert kinds["QLinearConv"] == 1
    assert kinds["Conv"] == kinds["DequantizeLinear"] - 1 == 0


@pytest.mark.parametrize("name", SCHEMES)
def test_the_real_denoiser_takes_any_size_and_keeps_what_it_is_told(bundle: Bundle, name: str) -> None:
    single = single_graph(onnx.load_model(bundle.path / DENOISER))
    base = single if SCHEMES[name].outputs else mixed_graph(single)
    ranges = dict.fromkeys(tensors(single, True), (-4.0, 4.0))
    layers = convolutions(single)
    low = quantized_graph(base, single, ranges, SCHEMES[name], frozenset(layers[:2]))
    onnx.checker.check_model(low, full_check=True)
    by_name = {node.name: node for node in low.graph.node}
    kept = [layer for layer in layers if by_name[layer].input[1] != f"{layer}.weight"]
    assert kept == layers[:2]
    assert not any(name in layers for name in by_name if "mask" in "".join(by_name[name].input))
    running = session(simulated(low))
    feed = feed_of(bundle, DENOISER)
    for repeats in ((1, 1), (2, 1), (1, 3)):
        big = {key: np.tile(values, (1, 1, *repeats)) if values.ndim == 4 else values for key, values in feed.items()}
        (noise,) = running.run(["noise"], big)
        assert noise.shape == big["x_t"].shape
        assert np.isfinite(noise).all()


def test_int8_for_onnx_runtime(bundle: Bundle) -> None:
    found = prepared(bundle, "int8", "onnxruntime")
    assert found.gate is not None
    assert found.gate.psnr >= 25
    assert 10 < found.gate.outputs["noise"] < 40
    (note,) = found.notes
    assert note.psnr == found.gate.psnr
    assert "convolutions of the denoiser in int8, ranges by " in note.detail
    types = {tensor.data_type for tensor in found.graphs[DENOISER].graph.initializer}
    assert types >= {TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32}
    assert {tensor.data_type for tensor in found.graphs["prior.onnx"].graph.initializer} <= {
        TensorProto.FLOAT,
        TensorProto.INT64,
    }


@pytest.mark.slow
def test_sensitive_layers_stay_in_float32(bundle: Bundle) -> None:
    whole = prepared(bundle, "int8", "onnxruntime").gate
    assert whole is not None
    found = prepared(bundle, "int8", "onnxruntime", gate=whole.psnr + 3)
    assert found.gate is not None
    assert found.gate.psnr >= whole.psnr + 3
    kept = found.kept_in_fp32[DENOISER]
    by_name = {node.name: node for node in found.graphs[DENOISER].graph.node}
    assert 0 < len(kept) < 20
    assert all(by_name[name].op_type == "Conv" and by_name[name].input[1] != f"{name}.weight" for name in kept)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_a_builder_takes_8_bits(bundle: Bundle, tmp_path: Path, precision: Precision) -> None:
    pytest.importorskip("tensorrt_rtx")
    path = shutil.copytree(bundle.path, tmp_path / "b")
    options = EngineOptions("tensorrt-rtx", precision, profile="64x64", sm=(89, 120), gate=25.0)
    record = build_engines(path, options, lambda line: None).engine.record
    assert record.key.precision == precision
    assert record.gate is not None
    assert record.gate.psnr >= 25
    assert f"in {precision}" in record.notes[0].detail


def test_a_portable_engine_cannot_have_fp8() -> None:
    with pytest.raises(ExportError, match="name yours with --sm"):
        fp8_scheme(key("fp8", sm=()))


def test_forms_by_backend() -> None:
    assert int8_scheme(key("int8", "onnxruntime")) is ONNX_RUNTIME
    assert int8_scheme(key("int8", "tensorrt", ())) is int8_scheme(key("int8")) is TENSORRT
    assert fp8_scheme(key("fp8", sm=(89, 120))) is FLOAT8
    assert isinstance(FLOAT8, Scheme)
