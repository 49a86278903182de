"""The networks as TensorRT engines: everything but TensorRT itself and the driver, which are made in Python.

An engine file holds the ONNX graph it stands for, so results must equal those of ONNX Runtime to the last bit.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks
from shadowdiffusion.runtime.backends.tensorrt_networks import TensorRTNetworks, fitting_side
from shadowdiffusion.runtime.bundle.device import Gpu
from shadowdiffusion.runtime.bundle.engines import StoredEngine
from shadowdiffusion.runtime.bundle.folder import DENOISER, MASK_HEAD, Bundle
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.errors import BundleError, RestoreError
from shadowdiffusion.runtime.loop.host_loop import HostLoop
from shadowdiffusion.runtime.restorer import Restorer
from shadowdiffusion.runtime.selection import fit
from shadowdiffusion.runtime.selection.engine_networks import open_engine
from shadowdiffusion.runtime.selection.golden_check import golden_psnr
from tests.runtime.fake_engines import packed_denoiser, store
from tests.runtime.fake_tensorrt import TensorRT
from tests.runtime.tiny import write_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return load_bundle(write_bundle(tmp_path / "b", golden=True, head=True))


def inputs(height: int = 32, width: int = 48, count: int = 1) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(3)
    y, x = rng.random((2, count, 3, height, width), np.float32)
    return y, rng.random((count, 1, height, width), np.float32), x


def test_every_output_is_that_of_the_graph(bundle: Bundle, trt: TensorRT) -> None:
    networks, reference = TensorRTNetworks(bundle, store(bundle)), OnnxRuntimeNetworks(bundle, "cpu", 1)
    step = bundle.manifest.sampling.tables["2"][0]
    for height, width, count in ((32, 48, 1), (64, 96, 2), (16, 16, 1)):  # buffers grow, and serve smaller ones
        y, mask, x = inputs(height, width, count)
        for found, expected in zip(networks.prior(y, mask), reference.prior(y, mask), strict=True):
            np.testing.assert_array_equal(found, expected)
        noise, shadow = networks.denoise(y, mask, x, step, True)
        expected_noise, expected_shadow = reference.denoise(y, mask, x, step, True)
        np.testing.assert_array_equal(noise, expected_noise)
        assert shadow is not None
        assert expected_shadow is not None
        np.testing.assert_array_equal(shadow, expected_shadow)
        lean, nothing = networks.denoise(y, mask, x, step, False)
        np.testing.assert_array_equal(lean, expected_noise)
        assert nothing is None


def test_the_mask_head_runs_only_when_asked_for(bundle: Bundle, trt: TensorRT) -> None:
    step, (y, mask, x) = bundle.manifest.sampling.tables["2"][0], inputs()
    networks = TensorRTNetworks(bundle, store(bundle))
    networks.denoise(y, mask, x, step, False)
    networks.denoise(y, mask, x, step, False)
    assert trt.opened == ["denoiser"]
    networks.denoise(y, mask, x, step, True)
    assert trt.opened == ["denoiser", "mask head"]


def test_a_denoiser_with_its_head_inside_gives_the_mask_itself(tmp_path: Path, trt: TensorRT) -> None:
    whole = load_bundle(write_bundle(tmp_path / "whole"))
    step, (y, mask, x) = whole.manifest.sampling.tables["2"][0], inputs()
    networks, reference = TensorRTNetworks(whole, store(whole)), OnnxRuntimeNetworks(whole, "cpu", 1)
    for with_mask in (False, True):
        found, expected = (net.denoise(y, mask, x, step, with_mask) for net in (networks, reference))
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])
    assert trt.opened == ["denoiser"]


def test_a_photo_is_restored_as_on_the_cpu(bundle: Bundle, trt: TensorRT) -> None:
    networks = TensorRTNetworks(bundle, store(bundle))
    loop, portable = (HostLoop(bundle, each) for each in (networks, OnnxRuntimeNetworks(bundle, "cpu", 1)))
    assert Restorer(bundle, loop).check() > 100
    y, mask, _ = inputs(40, 56)
    found, expected = (each.restore(y, mask, bundle.table(5), [0]).image for each in (loop, portable))
    np.testing.assert_array_equal(found, expected)
    assert networks.title.startswith("engine tensorrt_")


def test_the_golden_check_tells_a_good_engine_from_a_bad_one(bundle: Bundle, trt: TensorRT) -> None:
    engine = store(bundle)
    assert isinstance(open_engine(bundle, engine, None), TensorRTNetworks)
    assert golden_psnr(bundle, engine, None) == 200
    file = engine.path / "denoiser.engine"
    model = onnx.load_model(file)
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == "w")
    weight.CopyFrom(onnx.numpy_helper.from_array(1.2 * onnx.numpy_helper.to_array(weight), "w"))
    onnx.save_model(model, file)
    try:
        psnr = golden_psnr(bundle, engine, None)
    except RestoreError:  # one output alone may be refused before the whole is
        psnr = 0.0
    assert psnr < 50


def test_threads_take_turns(bundle: Bundle, trt: TensorRT) -> None:
    networks, reference = TensorRTNetworks(bundle, store(bundle)), OnnxRuntimeNetworks(bundle, "cpu", 1)
    results: dict[int, Any] = {}

    def work(side: int) -> None:
        y, mask, _ = inputs(side, side)
        for _ in range(5):
            results[side] = networks.prior(y, mask)[0]

    threads = [threading.Thread(target=work, args=(side,)) for side in (16, 24, 32, 64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for side, found in results.items():
        y, mask, _ = inputs(side, side)
        np.testing.assert_array_equal(found, reference.prior(y, mask)[0])
    assert len(results) == 4


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((128, 192), r"16x16 to 64x96 pixels \(HxW\), not 128x192: use a working size of at most 88, or build"),
        ((192, 128), r"not 192x128: use a working size of at most 64, or build an engine with --profile 192x128"),
        ((8, 8), r"not 8x8: build an engine with --profile 8x8"),
        ((8, 64), r"not 8x64: build an engine with --profile 8x64"),
    ],
)
def test_a_size_outside_the_profile_is_answered_with_one_that_works(
    bundle: Bundle, trt: TensorRT, size: tuple[int, int], words: str
) -> None:
    y, mask, _ = inputs(*size)
    with pytest.raises(RestoreError, match=words):
        TensorRTNetworks(bundle, store(bundle)).prior(y, mask)


@pytest.mark.parametrize("height", [97, 128, 200, 301])
@pytest.mark.parametrize("width", [97, 130, 256, 333])
def test_the_size_that_is_advised_fits(height: int, width: int) -> None:
    """Whatever photo had that padded working size, shrunk to the advised long side and padded it fits."""
    padded = (-(-height // 8) * 8, -(-width // 8) * 8)
    side = fitting_side(padded, (16, 16), (64, 96), 8)
    assert side
    factor = side / max(height, width)
    for length, largest in zip((height, width), (64, 96), strict=True):
        assert 16 <= -(-round(length * factor) // 8) * 8 <= largest


def test_too_many_images_at_once(bundle: Bundle, trt: TensorRT) -> None:
    y, mask, _ = inputs(count=3)
    with pytest.raises(RestoreError, match="takes 1 to 2 images at once, not 3"):
        TensorRTNetworks(bundle, store(bundle)).prior(y, mask)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("deserialize_cuda_engine", r"prior\.engine of engine .* cannot be loaded"),
        ("create_execution_context", r"cannot start .*use a smaller working size"),
        ("set_input_shape", r"refuses image of shape \(1, 3, 32, 48\)"),
        ("set_tensor_address", r"refuses memory for image"),
        ("execute_async_v3", r"did not start: .*use a smaller working size"),
    ],
)
def test_every_refusal_is_one_line_with_its_reason(bundle: Bundle, trt: TensorRT, call: str, words: str) -> None:
    networks, (y, mask, _) = TensorRTNetworks(bundle, store(bundle)), inputs()
    trt.refuse = call
    with pytest.raises(RestoreError, match=words) as caught:
        networks.prior(y, mask)
    assert f"the reason why {call} failed" in str(caught.value)
    trt.refuse = ""
    networks.prior(y, mask)  # the next call works


def test_too_little_memory_leaves_the_networks_usable(bundle: Bundle, trt: TensorRT) -> None:
    networks = TensorRTNetworks(bundle, store(bundle))
    trt.driver.size = 60_000
    y, mask, _ = inputs(64, 96)
    with pytest.raises(RestoreError, match=r"GPU memory ran out .*use a smaller working size"):
        networks.prior(y, mask)
    y, mask, _ = inputs(16, 16)
    assert networks.prior(y, mask)[0].shape == (1, 3, 16, 16)


def test_values_that_are_not_finite_are_refused(bundle: Bundle, trt: TensorRT) -> None:
    networks, (y, mask, x) = TensorRTNetworks(bundle, store(bundle)), inputs()
    with pytest.raises(RestoreError, match="not finite"):
        networks.denoise(y, mask, np.full_like(x, np.nan), bundle.manifest.sampling.tables["2"][0], True)


def test_a_stripped_engine_takes_its_weights_from_the_bundle(bundle: Bundle, trt: TensorRT) -> None:
    engine = store(bundle, stripped=True)
    step, (y, mask, x) = bundle.manifest.sampling.tables["2"][0], inputs()
    networks, reference = TensorRTNetworks(bundle, engine), OnnxRuntimeNetworks(bundle, "cpu", 1)
    for with_mask in (True, False):
        found, expected = (each.denoise(y, mask, x, step, with_mask)[0] for each in (networks, reference))
        assert expected.any()
        np.testing.assert_array_equal(found, expected)
    assert trt.refitted_from == [bundle.path / DENOISER, bundle.path / MASK_HEAD]
    graph = onnx.load_model(bundle.path / "prior.onnx")
    onnx.save_model(graph, engine.path / "prior.onnx")  # a graph of its own, as for lower precisions
    networks.prior(y, mask)
    assert trt.refitted_from[-1] == engine.path / "prior.onnx"


@pytest.mark.parametrize("call", ["refit_from_file", "refit_cuda_engine"])
def test_weights_that_do_not_fit_are_refused(bundle: Bundle, trt: TensorRT, call: str) -> None:
    networks, (y, mask, _) = TensorRTNetworks(bundle, store(bundle, stripped=True)), inputs()
    trt.refuse = call
    with pytest.raises(RestoreError, match=f"cannot take its weights: the reason why {call} failed"):
        networks.prior(y, mask)


def test_a_missing_tensorrt_says_what_to_install(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(RestoreError, match=r"needs tensorrt: pip install .*\[tensorrt\]"):
        TensorRTNetworks(bundle, store(bundle))


def test_an_engine_of_another_network_is_refused(bundle: Bundle, trt: TensorRT) -> None:
    engine, (y, mask, _) = store(bundle), inputs()
    networks = engine.record.networks
    wrong = msgspec.structs.replace(engine.record, networks=networks | {"prior.onnx": networks["denoiser.onnx"]})
    with pytest.raises(BundleError, match=r"takes .*'x_t'.*, not .*: build it again"):
        TensorRTNetworks(bundle, StoredEngine(engine.path, wrong)).prior(y, mask)
    none = msgspec.structs.replace(engine.record, networks={"denoiser.onnx": networks["denoiser.onnx"]})
    with pytest.raises(BundleError, match=r"has no prior\.onnx: build it again"):
        TensorRTNetworks(bundle, StoredEngine(engine.path, none)).prior(y, mask)


@pytest.mark.parametrize("kind", ["FLOAT", "HALF"])
def test_a_packed_input_is_joined_and_rounded_on_the_host(tmp_path: Path, trt: TensorRT, kind: str) -> None:
    """Of an engine whose denoiser takes one image of seven channels, in the type that the record says."""
    bundle = load_bundle(write_bundle(tmp_path / "b"))
    y, mask, x = inputs()
    step = bundle.manifest.sampling.tables["2"][0]
    changed = store(bundle, change=lambda denoiser: packed_denoiser(denoiser, kind))
    rounded = [array.astype(np.float16 if kind == "HALF" else np.float32) for array in (y, mask, x)]
    given, matte, noisy = (array.astype(np.float32) for array in rounded)
    reference = OnnxRuntimeNetworks(bundle, "cpu", 1).denoise(given, matte, noisy, step, True)
    networks = TensorRTNetworks(bundle, changed)
    for found, expected in zip(networks.denoise(y, mask, x, step, True), reference, strict=True):
        np.testing.assert_array_equal(found, expected)
    large, small, other = inputs(128, 192)
    with pytest.raises(RestoreError, match="not 128x192: use a working size"):
        networks.denoise(large, small, other, step, False)


def test_an_engine_that_cannot_be_set_up_says_so(bundle: Bundle, trt: TensorRT) -> None:
    networks, (y, mask, _) = TensorRTNetworks(bundle, store(bundle)), inputs()
    trt.refuse = "update_device_memory_size_for_shapes"
    words = (
        r"prior.onnx of engine .* cannot be set up for .*\(1, 3, 32, 48\).*: the reason why .*; build the engine again"
    )
    with pytest.raises(RestoreError, match=words):
        networks.prior(y, mask)


def test_what_tensorrt_for_rtx_compiled_is_there_for_the_next_process(
    bundle: Bundle, trt: TensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    engine = store(bundle, backend="tensorrt-rtx", provider=None)
    files = tmp_path / "cache" / "shadowdiffusion" / "tensorrt-rtx"

    def run(*sizes: tuple[int, int]) -> int:
        """How many kernels a process compiles that restores images of these sizes."""
        networks, before = TensorRTNetworks(bundle, engine), len(trt.compiled)
        for size in sizes:
            y, mask, _ = inputs(*size)
            networks.prior(y, mask)
        return len(trt.compiled) - before

    assert run((32, 48), (32, 48)) == 1
    (file,) = files.iterdir()
    assert run((32, 48), (16, 16)) == 1
    assert run((32, 48), (16, 16)) == 0
    file.write_bytes(b"version 0\nanything")  # of another driver
    assert run((32, 48)) == 1
    assert run((32, 48)) == 0
    monkeypatch.setattr(fit, "find_gpu", lambda: Gpu("NVIDIA L4", 89, "580"))
    assert run((32, 48)) == 1  # another GPU
    assert len(list(files.iterdir())) == 2
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))  # a place that cannot be written
    assert run((32, 48)) == 1


def test_tensorrt_itself_keeps_nothing(
    bundle: Bundle, trt: TensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    networks, (y, mask, _) = TensorRTNetworks(bundle, store(bundle)), inputs()
    networks.prior(y, mask)
    assert not (tmp_path / "cache").exists()
