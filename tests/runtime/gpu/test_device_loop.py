"""The complete loop on the GPU: kernels of `kernels/` in Triton's interpreter; networks, driver and graphs in Python.

The loop on the CPU around the same networks says what the results should be.
"""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks
from shadowdiffusion.runtime.backends.tensorrt_networks import TensorRTNetworks
from shadowdiffusion.runtime.bundle.folder import Bundle, Illumination, Sampling, write_manifest
from shadowdiffusion.runtime.bundle.golden_example import psnr
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.errors import RestoreError
from shadowdiffusion.runtime.gpu.device_loop import KEPT, DeviceLoop
from shadowdiffusion.runtime.loop import tiled_loop as native
from shadowdiffusion.runtime.loop.host_loop import HostLoop
from shadowdiffusion.runtime.loop.loop import Working
from shadowdiffusion.runtime.selection import golden_check
from shadowdiffusion.runtime.selection.engine_networks import open_loop
from shadowdiffusion.runtime.selection.golden_check import loop_psnr
from shadowdiffusion.runtime.selection.profile import WithinProfile
from tests.runtime.fake_engines import packed_denoiser, store, tell_by_rows
from tests.runtime.fake_gpu import Driver
from tests.runtime.fake_kernels import add_kernels
from tests.runtime.fake_tensorrt import TensorRT
from tests.runtime.tiny import make_sampling, write_bundle

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET", "0") in ("", "0"), reason="kernels are compiled here: set TRITON_INTERPRET=1"
)

FIELDS = ("image", "clean", "mask", "illumination")
SIZE = (13, 21)
"""Height and width in pixels: padded to 16x24, one program per kernel."""


def geometric(sampling: Sampling) -> Sampling:
    """rho grows from step to step."""
    tables = {
        key: [msgspec.structs.replace(step, rho=0.1 * 1.5**index) for index, step in enumerate(table)]
        for key, table in sampling.tables.items()
    }
    return msgspec.structs.replace(sampling, tables=tables)


def made(path: Path, sampling: Sampling | None = None, rows: bool = False, **changes: Any) -> Bundle:
    """A tiny bundle with stand-ins for kernels."""
    bundle = load_bundle(write_bundle(path, sampling, **{"head": True, **changes}))
    if rows:
        tell_by_rows(bundle)
    add_kernels(path)
    return load_bundle(path)


def loops(bundle: Bundle, said: list[str] | None = None, **changes: Any) -> tuple[DeviceLoop, HostLoop]:
    """The loop on the GPU and the one on the CPU, around the same engine."""
    networks = TensorRTNetworks(bundle, store(bundle, **changes))
    lines = [] if said is None else said
    return DeviceLoop(bundle, networks, lines.append), HostLoop(bundle, networks)


def photos(count: int = 1, size: tuple[int, int] = SIZE, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.random((count, 3, *size), np.float32), (rng.random((count, 1, *size)) > 0.4).astype(np.float32)


def distance(found: Working, expected: Working) -> float:
    """The worst PSNR in dB of all results."""
    return min(
        psnr(getattr(found, name), getattr(expected, name)) for name in FIELDS if getattr(expected, name) is not None
    )


def same(first: Working, second: Working) -> bool:
    """Bit for bit."""
    pairs = [(getattr(first, name), getattr(second, name)) for name in FIELDS]
    return all(one is two if one is None else np.array_equal(one, two) for one, two in pairs)


def packed(kind: str) -> Any:
    return {"change": lambda denoiser: packed_denoiser(denoiser, kind)}


CASES: dict[str, tuple[Sampling, dict[str, Any], dict[str, Any]]] = {
    "plain": (make_sampling(), {}, {}),
    "rows": (make_sampling(mask_policy="late"), {"rows": True}, {}),
    "predicted": (make_sampling(mask_policy="predicted", eta=1.0), {}, {}),
    "closed form": (geometric(make_sampling(mask_policy="closed-form")), {}, {}),
    "late": (make_sampling(mask_policy="late", eta=1.0, clamp=True), {}, {}),
    "no data consistency": (make_sampling(data_consistency=False), {}, {}),
    "noise only": (make_sampling(data_consistency=False, eta=1.0, clamp=True), {}, {}),
    "growing rho": (geometric(make_sampling(eta=1.0)), {}, {}),
    "from the prior": (make_sampling(start=60), {}, {}),
    "from the prior with noise": (make_sampling(start=40, eta=1.0, mask_policy="predicted"), {"rows": True}, {}),
    "head inside": (make_sampling(mask_policy="predicted"), {"head": False}, {}),
    "packed": (make_sampling(mask_policy="closed-form", eta=1.0), {}, packed("FLOAT")),
    "packed from the prior": (geometric(make_sampling(start=50)), {"rows": True}, packed("FLOAT")),
    "packed halves": (make_sampling(mask_policy="late", eta=1.0), {}, packed("HALF")),
    "packed halves from the prior": (make_sampling(start=50, mask_policy="predicted"), {}, packed("HALF")),
    "packed without data consistency": (make_sampling(data_consistency=False), {}, packed("HALF")),
    "RTX": (make_sampling(mask_policy="predicted"), {}, {"backend": "tensorrt-rtx"}),
}


@pytest.mark.parametrize(("sampling", "options", "changes"), CASES.values(), ids=CASES.keys())
def test_the_results_are_those_of_the_loop_on_the_cpu(
    tmp_path: Path, trt: TensorRT, sampling: Sampling, options: dict[str, Any], changes: dict[str, Any]
) -> None:
    """In single launches, when captured, and when launched as a graph again, which are the same bit for bit."""
    gpu, cpu = loops(made(tmp_path / "b", sampling, **options), **changes)
    bundle, (y, mask) = gpu._bundle, photos()
    # what enters the network as float16 is rounded by the kernel and by NumPy from numbers that differ in the last bit
    least = 80 if gpu._names.start.startswith("start_state_packed_fp16") else 100
    for steps, masks, with_mask, repeated in ((5, mask, True, 3), (2, None, False, 1)):
        arguments = (y, masks, bundle.table(steps), [7], with_mask)
        runs, expected = [gpu.restore(*arguments) for _ in range(repeated)], cpu.restore(*arguments)
        assert distance(runs[0], expected) > least
        assert (runs[0].mask is not None) == with_mask
        assert all(same(runs[0], run) for run in runs[1:])
    assert gpu.without_graphs is None
    assert len(trt.driver.graphs) == 1


def test_a_given_clean_estimate_is_used_as_on_the_cpu(tmp_path: Path, trt: TensorRT) -> None:
    gpu, cpu = loops(made(tmp_path / "b"))
    y, mask = photos(2)
    arguments = (y, mask, gpu._bundle.table(2), [3, 4], True, None, 1 - y / 2)
    found = gpu.restore(*arguments)
    assert distance(found, cpu.restore(*arguments)) > 100
    assert np.array_equal(found.clean, 1 - y / 2)


@pytest.mark.parametrize("size", [(1, 1), (16, 24), (17, 9), (40, 63)])
def test_any_size_within_the_profile(tmp_path: Path, trt: TensorRT, size: tuple[int, int]) -> None:
    """Sizes below the profile's 16x16 after padding are refused with the profile in the message."""
    gpu, cpu = loops(made(tmp_path / "b"))
    y, mask = photos(2, size)
    arguments = (y, mask, gpu._bundle.table(2), [3, 4])
    if min(size) <= 8:
        with pytest.raises(RestoreError, match="takes images of 16x16 to 64x96 pixels"):
            gpu.restore(*arguments)
        return
    found = gpu.restore(*arguments)
    assert found.image.shape == y.shape
    assert distance(found, cpu.restore(*arguments)) > 100


@pytest.mark.parametrize("prior", [True, False])
def test_what_is_degraded_everywhere_needs_no_mask(tmp_path: Path, trt: TensorRT, prior: bool) -> None:
    bundle = made(tmp_path / "b", make_sampling(data_consistency=prior), prior=prior)
    model = msgspec.structs.replace(bundle.manifest.model, matte_threshold=0.0)
    gpu, cpu = loops(Bundle(bundle.path, msgspec.structs.replace(bundle.manifest, model=model)))
    y, mask = photos()
    table = bundle.table(2)
    blind, given = (gpu.restore(y, masks, table, [1], True) for masks in (None, np.ones_like(mask)))
    assert same(blind, given)
    assert distance(blind, cpu.restore(y, None, table, [1], True)) > 100


def test_a_bundle_without_a_prior_needs_a_mask(tmp_path: Path, trt: TensorRT) -> None:
    bundle = made(tmp_path / "b", make_sampling(data_consistency=False, mask_policy="predicted"), prior=False)
    gpu, cpu = loops(bundle)
    y, mask = photos()
    assert distance(*(loop.restore(y, mask, bundle.table(5), [1], True) for loop in (gpu, cpu))) > 100
    with pytest.raises(RestoreError, match="no prior network to find the shadow with: give a mask"):
        gpu.restore(y, None, bundle.table(5), [1])
    with pytest.raises(RestoreError, match=r"seed -1 is out of range"):
        gpu.restore(y, mask, bundle.table(5), [-1])


@pytest.mark.parametrize(("policy", "blind"), [("closed-form", False), ("predicted", True)])
def test_a_batch_is_its_photos_one_by_one(tmp_path: Path, trt: TensorRT, policy: Any, blind: bool) -> None:
    """Three photos are a batch of two and one of one. Seeds use all 64 bits."""
    bundle = made(tmp_path / "b", make_sampling(eta=1.0, mask_policy=policy))
    (gpu, _), table, seeds = loops(bundle), bundle.table(2), [2**63, 2**64 - 1, 5]
    y, mask = photos(3)
    batch = gpu.restore(y, None if blind else mask, table, seeds, True)
    for index, seed in enumerate(seeds):
        one = slice(index, index + 1)
        single = gpu.restore(y[one], None if blind else mask[one], table, [seed], True)
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(batch, name)[one], getattr(single, name))


def test_the_next_batch_goes_up_while_the_gpu_works(tmp_path: Path, trt: TensorRT) -> None:
    bundle = made(tmp_path / "b")
    gpu, _ = loops(bundle)
    y, mask = photos(6)
    gpu.restore(y, mask, bundle.table(2), [0] * 6)
    calls = trt.driver.calls
    calls.clear()
    done: list[tuple[int, int]] = []
    gpu.restore(y, mask, bundle.table(2), [0] * 6, progress=lambda *step: done.append(step))
    order = [name for name in calls if name in ("cuMemcpyHtoDAsync_v2", "cuEventSynchronize")]
    assert (
        order
        == ["cuMemcpyHtoDAsync_v2"] * 2 + ["cuEventSynchronize", "cuMemcpyHtoDAsync_v2"] + ["cuEventSynchronize"] * 2
    )
    assert done == [(4, 12), (8, 12), (12, 12)]


def test_new_photos_masks_and_seeds_need_no_new_capture(tmp_path: Path, trt: TensorRT) -> None:
    bundle = made(tmp_path / "b", make_sampling(eta=1.0, mask_policy="predicted"))
    (gpu, cpu), table = loops(bundle), bundle.table(2)
    first = gpu.restore(*photos(), table, [0], True)
    kept = first.image.copy()
    for seed in range(3):
        y, mask = photos(seed=seed)
        assert distance(*(loop.restore(y, mask, table, [seed], True) for loop in (gpu, cpu))) > 100
    assert trt.driver.calls.count("cuStreamBeginCapture_v2") == 1
    np.testing.assert_array_equal(first.image, kept)  # results are the caller's


def test_each_kind_of_restoration_has_its_graph(tmp_path: Path, trt: TensorRT) -> None:
    bundle = made(tmp_path / "b")
    gpu, _ = loops(bundle)
    y, mask = photos()
    kinds = [(masks, steps, with_mask) for masks in (mask, None) for steps in (2, 5) for with_mask in (False, True)]
    for _ in range(3):
        for masks, steps, with_mask in kinds:
            gpu.restore(y, masks, bundle.table(steps), [0], with_mask)
    assert trt.driver.calls.count("cuStreamBeginCapture_v2") == len(kinds) == len(trt.driver.graphs)


def work_of(gpu: DeviceLoop, driver: Driver, steps: int, with_mask: bool, blind: bool = False) -> Counter[str]:
    """What the device did for one photo, as a graph."""
    y, mask = photos()
    for _ in range(3):
        driver.done.clear()
        driver.calls.clear()
        gpu.restore(y, None if blind else mask, gpu._bundle.table(steps), [0], with_mask)
    return driver.done.copy()


@pytest.mark.parametrize(
    ("policy", "rows", "per_step"),
    [
        ("input", False, {"denoiser": 1, "prior_step_state": 1, "copy": 1}),
        ("input", True, {"denoiser": 1, "prior_step_state": 1, "copy": 1}),
        (
            "predicted",
            True,
            {"denoiser": 1, "prior_step_state": 1, "copy": 1, "mask head": 1, "mask_update": 1},
        ),
    ],
)
def test_a_step_is_the_network_one_kernel_and_one_small_copy(
    tmp_path: Path, trt: TensorRT, policy: Any, rows: bool, per_step: dict[str, int]
) -> None:
    gpu, _ = loops(made(tmp_path / "b", make_sampling(mask_policy=policy), rows))
    short, long = (work_of(gpu, trt.driver, steps, False) for steps in (2, 5))
    assert {name: (long[name] - short[name]) / 3 for name in long if long[name] != short[name]} == per_step
    once = {name: short[name] - 2 * per_step.get(name, 0) for name in short}
    assert once.pop("upload") == once.pop("download") == 1
    assert once.pop("copy") == 2  # the photo into place, and its mask to where the denoiser reads it
    assert once.pop("prior") == 1
    assert sum(count for count in once.values() if count > 0) == 3  # coefficients, first state, last step


def test_a_graph_costs_the_host_the_same_for_any_number_of_steps(tmp_path: Path, trt: TensorRT) -> None:
    gpu, _ = loops(made(tmp_path / "b"))
    calls = []
    for steps in (2, 5):
        work_of(gpu, trt.driver, steps, True, blind=True)
        calls.append(list(trt.driver.calls))
    assert calls[0] == calls[1]
    assert calls[0].count("cuGraphLaunch") == 1
    assert "cuLaunchKernel" not in calls[0]
    assert "cuMemAlloc_v2" not in calls[0]
    assert len(calls[0]) <= 12


FAULTS: dict[str, tuple[str, dict[str, int], str]] = {
    "TensorRT refuses": ("execute_async_v3", {}, "did not start: the reason why execute_async_v3 failed"),
    "launch": ("", {"cuLaunchKernel": 700}, "cuLaunchKernel failed with CUDA_ERROR_ILLEGAL_ADDRESS"),
    "copy": (
        "",
        {"cuMemcpyDtoDAsync_v2": 900},
        "cuMemcpyDtoDAsync_v2 failed with CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
    ),
    "fill": ("", {"cuMemsetD32Async": 900}, "cuMemsetD32Async failed"),
    "begin": ("", {}, "cuStreamBeginCapture_v2 failed with error 1"),
    "end": ("", {"cuStreamEndCapture": 901}, "cuStreamEndCapture failed with CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"),
    "instantiation": ("", {}, "cuGraphInstantiateWithFlags failed with error 1"),
}


@pytest.mark.parametrize(("refuse", "in_capture", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_what_cannot_be_captured_runs_in_single_launches(
    tmp_path: Path, trt: TensorRT, refuse: str, in_capture: dict[str, int], words: str
) -> None:
    bundle, said = made(tmp_path / "b", make_sampling(mask_policy="predicted")), list[str]()
    gpu, _ = loops(bundle, said)
    y, _ = photos()
    arguments = (y, None, bundle.table(2), [1], True)
    expected = gpu.restore(*arguments)
    driver = trt.driver
    driver.in_capture = in_capture
    trt.refuse_in_capture = refuse
    if not refuse and not in_capture:
        driver.refused = {words.split()[0]: 1}
    for _ in range(3):
        assert same(gpu.restore(*arguments), expected)
        assert driver.capture is None
    assert gpu.without_graphs is not None
    assert words in gpu.without_graphs
    assert said == [f"{gpu.title} runs in single launches, without CUDA graphs: {gpu.without_graphs}"]
    assert driver.calls.count("cuStreamBeginCapture_v2") == 2, "tried again once"
    assert "cuGraphLaunch" not in driver.calls
    assert not driver.graphs


@pytest.mark.parametrize("times", [1, 2])
def test_an_allocation_by_someone_else_spoils_a_capture_and_nothing_more(
    tmp_path: Path, trt: TensorRT, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Once is an accident, and the next photo is captured. Twice is the rule here."""
    bundle, said = made(tmp_path / "b"), list[str]()
    gpu, _ = loops(bundle, said)
    arguments = (*photos(), bundle.table(2), [1])
    expected = gpu.restore(*arguments)
    launch, spoilt = gpu._kernels.launch, list[object]()

    def allocate_too(name: str, images: int, /, **values: Any) -> None:
        capture = trt.driver.capture
        if capture is not None and capture not in spoilt and len(spoilt) < times:
            trt.driver.cuMemAlloc_v2(None, None)
            spoilt.append(capture)
        launch(name, images, **values)

    monkeypatch.setattr(gpu._kernels, "launch", allocate_too)
    for _ in range(3):
        assert same(gpu.restore(*arguments), expected)
    assert trt.driver.calls.count("cuStreamBeginCapture_v2") == 2
    assert len(trt.driver.graphs) == 2 - times
    assert [("CUDA_ERROR_STREAM_CAPTURE_INVALIDATED" in line) for line in said] == [True] * (times - 1)


def test_a_context_that_says_it_cannot_be_captured_is_believed(tmp_path: Path, trt: TensorRT) -> None:
    bundle, said = made(tmp_path / "b"), list[str]()
    gpu, _ = loops(bundle, said, backend="tensorrt-rtx")
    arguments = (*photos(), bundle.table(2), [1])
    expected = gpu.restore(*arguments)
    trt.refuse = "is_stream_capturable"
    assert same(gpu.restore(*arguments), expected)
    assert "cannot be captured" in said[0]
    assert "cuStreamBeginCapture_v2" not in trt.driver.calls


def test_a_refusal_outside_a_capture_is_an_error_and_the_next_photo_works(tmp_path: Path, trt: TensorRT) -> None:
    bundle = made(tmp_path / "b")
    gpu, _ = loops(bundle)
    arguments = (*photos(), bundle.table(2), [1])
    trt.refuse = "execute_async_v3"
    with pytest.raises(RestoreError, match="did not start: the reason why execute_async_v3 failed"):
        gpu.restore(*arguments)
    trt.refuse = ""
    expected = gpu.restore(*arguments)
    for name in ("cuMemcpyHtoDAsync_v2", "cuGraphLaunch", "cuEventSynchronize", "cuMemcpyDtoHAsync_v2"):
        trt.driver.refused = {name: 700}
        with pytest.raises(RestoreError, match=f"{name} failed with CUDA_ERROR_ILLEGAL_ADDRESS"):
            gpu.restore(*arguments)
        trt.driver.refused = {}
        assert same(gpu.restore(*arguments), expected)


def test_a_caller_that_stops_in_between_leaves_the_loop_usable(tmp_path: Path, trt: TensorRT) -> None:
    bundle = made(tmp_path / "b")
    gpu, _ = loops(bundle)
    y, mask = photos(4)
    expected = gpu.restore(y, mask, bundle.table(2), [1] * 4)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gpu.restore(y, mask, bundle.table(2), [1] * 4, progress=stop)
    assert not any(trt.driver.streams.values())
    assert same(gpu.restore(y, mask, bundle.table(2), [1] * 4), expected)


def test_other_shapes_give_up_their_memory_when_it_runs_out(tmp_path: Path, trt: TensorRT) -> None:
    bundle, driver = made(tmp_path / "b"), trt.driver
    gpu, cpu = loops(bundle)
    table = bundle.table(2)
    small, large = (photos(size=size) for size in ((16, 16), (64, 96)))
    expected = gpu.restore(*large, table, [1])
    after_large = driver.used()
    gpu.restore(*small, table, [1])
    driver.size = driver.used()
    for _ in range(2):
        middle = photos(size=(48, 80))
        assert distance(*(loop.restore(*middle, table, [1]) for loop in (gpu, gpu))) > 100
        assert driver.used() < after_large
        assert same(gpu.restore(*large, table, [1]), expected)
    driver.size = after_large // 2
    with pytest.raises(RestoreError, match=r"GPU memory ran out .*use a smaller working size"):
        gpu.restore(*photos(2, size=(64, 96)), table, [1, 2])
    gc.collect()
    assert driver.used() < after_large // 4, "what a failed attempt took was given back"
    assert distance(gpu.restore(*small, table, [1]), cpu.restore(*small, table, [1])) > 100


def test_native_goes_on_with_tiles_when_memory_runs_out(
    tmp_path: Path, trt: TensorRT, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "SMALLEST", 32)
    monkeypatch.setattr(native, "OVERLAP", 16)
    bundle, driver = made(tmp_path / "b"), trt.driver
    gpu, _ = loops(bundle)
    table, large = bundle.table(2), photos(size=(64, 96))
    expected = native.NativeLoop(bundle, gpu).restore(*large, table, [1])
    assert expected.tile is None
    driver.size = int(0.85 * driver.used())
    del gpu
    gc.collect()
    assert not driver.used()
    tight, _ = loops(made(tmp_path / "c"))
    with pytest.warns(UserWarning, match=r"native size 96x64 is run on .*: memory ran out \(GPU memory ran out \("):
        found = native.NativeLoop(bundle, tight).restore(*large, table, [1])
    assert found.tile is not None
    assert distance(found, expected) > 40


def test_native_keeps_to_the_profile(tmp_path: Path, trt: TensorRT) -> None:
    bundle = made(tmp_path / "b")
    gpu, _ = loops(bundle)
    y, mask = photos(size=(100, 150))
    expected = HostLoop(bundle, OnnxRuntimeNetworks(bundle, "cpu", 1)).restore(y, mask, bundle.table(2), [1])
    with pytest.warns(UserWarning, match=r"native size 152x104 is run on 3x3 .* tiles of 96x64 .* takes 96x64 at most"):
        found = native.NativeLoop(bundle, gpu).restore(y, mask, bundle.table(2), [1])
    assert found.tile == (64, 96)
    assert distance(found, expected) > 40


def test_few_shapes_are_kept(tmp_path: Path, trt: TensorRT) -> None:
    bundle, driver = made(tmp_path / "b"), trt.driver
    held = [loops(bundle)[0]]
    *sizes, new = [(16, 16 + 8 * index) for index in range(KEPT + 2)]

    def launched(*those: tuple[int, int]) -> list[bool]:
        """Whether photos of each size were one launch of a graph without an allocation."""
        found = []
        for size in those:
            driver.calls.clear()
            held[0].restore(*photos(size=size), bundle.table(2), [1])
            found.append("cuGraphLaunch" in driver.calls and "cuMemAlloc_v2" not in driver.calls)
        return found

    for size in sizes:
        launched(size, size)
    dropped, *kept = sizes
    assert len(driver.graphs) == KEPT
    assert all(launched(*kept))
    assert launched(kept[0], new) == [True, False]
    assert launched(new, new) == [True, True]
    assert launched(kept[2], kept[1], dropped) == [True, False, False], "what was not used for the longest time goes"
    held.clear()
    gc.collect()
    assert not driver.graphs
    assert not driver.pinned


def test_threads_take_turns(tmp_path: Path, trt: TensorRT) -> None:
    """The loop, and the networks by themselves, which share its stream."""
    bundle = made(tmp_path / "b")
    (gpu, cpu), table = loops(bundle), bundle.table(2)
    sizes = [(16, 16), (16, 24), (24, 16)]
    expected = {size: cpu.restore(*photos(size=size), table, [2]) for size in sizes}
    wrong: list[object] = []

    def restore(size: tuple[int, int]) -> None:
        try:
            for _ in range(3):
                if distance(gpu.restore(*photos(size=size), table, [2]), expected[size]) < 100:
                    wrong.append(size)
                gpu.networks.prior(*photos(size=size))
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=restore, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert gpu.without_graphs is None


def harm_denoiser(model: onnx.ModelProto) -> onnx.ModelProto:
    """noise / (image's blue at each pixel), which is no number for an image in [-1, 1] that has a zero there."""
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["sound" if name == "noise" else name for name in node.output]
    graph.node.extend(
        [
            onnx.helper.make_node("Log", ["image"], ["logarithm"]),
            onnx.helper.make_node("Mul", ["logarithm", "zero"], ["nothing"]),
            onnx.helper.make_node("Add", ["sound", "nothing"], ["noise"]),
        ]
    )
    return model


def test_values_that_are_not_finite_are_found_and_their_photo_named(tmp_path: Path, trt: TensorRT) -> None:
    """This denoiser takes the logarithm of the image in [-1, 1]: it cannot handle anything below the middle."""
    bundle = made(tmp_path / "b")
    gpu, _ = loops(bundle, change=harm_denoiser)
    y, mask = photos(5)
    y = 0.6 + 0.4 * y
    for _ in range(2):
        assert np.isfinite(gpu.restore(y, mask, bundle.table(2), [0] * 5, True).image).all()
        for index, which in ((0, "image 1 of 5"), (3, "image 4 of 5"), (4, "image 5 of 5")):
            dark = y.copy()
            dark[index, 2, 5, 7] = 0.3
            with pytest.raises(RestoreError, match=rf"{which}: the result has values that are not finite"):
                gpu.restore(dark, mask, bundle.table(2), [0] * 5, True)
    with pytest.raises(RestoreError, match=r"engine .* cannot handle this photo: the result has values"):
        gpu.restore(dark[4:], mask[4:], bundle.table(2), [0])


@pytest.mark.parametrize(
    ("sms", "gpu", "without", "words"),
    [
        ((), 90, "none", r"no kernels for this GPU: shadowdiffusion export kernels \S+/b --sm 90"),
        ((80, 120), 90, "none", "no kernels for this GPU"),
        ((100,), 120, "none", r"no kernels for this GPU: .*--sm 120"),
        ((90,), 89, "none", "no kernels for this GPU"),
        ((90,), 90, "start_state", r"kernels lack start_state_photo: shadowdiffusion export kernels \S+/b --sm 90"),
        ((90,), 90, "last", "kernels lack prior_step_last: "),
    ],
)
def test_missing_kernels_leave_the_steps_to_the_cpu(
    tmp_path: Path, trt: TensorRT, sms: tuple[int, ...], gpu: int, without: str, words: str
) -> None:
    path, said = write_bundle(tmp_path / "b", golden=True, head=True), list[str]()
    trt.driver.sm = gpu
    if sms:
        add_kernels(path, sms, without)
    bundle = load_bundle(path)
    engine = store(bundle)
    with pytest.raises(RestoreError, match=words):
        DeviceLoop(bundle, TensorRTNetworks(bundle, engine), said.append)
    loop = open_loop(bundle, engine, "this GPU", None, said.append)
    assert isinstance(loop, HostLoop)
    (line,) = said
    assert line.startswith(f"{loop.title} leaves the steps between its networks to the CPU: ")


@pytest.mark.parametrize(("built", "gpu"), [((80,), 80), ((80,), 89), ((80, 86), 89), ((120,), 120)])
def test_machine_code_for_an_earlier_gpu_of_the_family_runs(
    tmp_path: Path, trt: TensorRT, built: tuple[int, ...], gpu: int
) -> None:
    trt.driver.sm = gpu
    path = write_bundle(tmp_path / "b", head=True)
    add_kernels(path, built, code=lambda sm, name: name if sm == max(built) else "worse")
    bundle = load_bundle(path)
    loop, cpu = loops(bundle)
    arguments = (*photos(), bundle.table(2), [1])
    assert distance(loop.restore(*arguments), cpu.restore(*arguments)) > 100


def test_an_engine_with_other_outputs_leaves_the_steps_to_the_cpu(tmp_path: Path, trt: TensorRT) -> None:
    bundle, said = made(tmp_path / "b"), list[str]()
    engine = store(bundle)
    engine.record.networks["denoiser.onnx"].tensors["noise"]["dtype"] = "HALF"
    assert isinstance(open_loop(bundle, engine, "this GPU", None, said.append), HostLoop)
    assert "denoiser.onnx of engine" in said[0]
    assert "gives noise in HALF, not in FLOAT" in said[0]


@pytest.fixture
def checked_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The golden check of the loop happens in this process, since the driver is here; what was checked."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    checked: list[str] = []

    def check(bundle: Bundle, engine: Any, threads: int | None, subject: str) -> tuple[float | None, str | None]:
        checked.append(subject)
        try:
            return loop_psnr(bundle, engine), None
        except RestoreError as error:
            return None, str(error)

    monkeypatch.setattr(golden_check, "_in_another_process", check)
    return checked


def test_a_loop_that_proves_right_is_used_and_remembered(
    tmp_path: Path, trt: TensorRT, checked_here: list[str]
) -> None:
    bundle, said = made(tmp_path / "b", make_sampling(mask_policy="predicted"), golden=True), list[str]()
    engine = store(bundle)
    for _ in range(2):
        assert isinstance(open_loop(bundle, engine, "this GPU", None, said.append), DeviceLoop)
    assert checked_here == ["loop"]
    assert said == [f"checking the GPU kernels with engine {engine.name}, which are new to this machine"]
    assert trt.driver.calls.count("cuStreamBeginCapture_v2") == 2  # with a mask and without
    add_kernels(bundle.path, (80, 90))
    open_loop(load_bundle(bundle.path), engine, "this GPU", None, said.append)
    assert checked_here == ["loop", "loop"], "other kernels"


@pytest.mark.parametrize(
    ("harmed", "other"),
    [
        ("prior_step_state", "prior_step_state_free"),
        ("prior_step_last", "prior_step_last_free"),
        ("mask_update", "mask_update_closed_form"),
        ("prior_coefficients_h", "prior_coefficients"),
    ],
)
def test_a_wrong_kernel_is_noticed_and_not_used(
    tmp_path: Path, trt: TensorRT, checked_here: list[str], harmed: str, other: str
) -> None:
    """The machine code of one kernel is that of another."""
    path = write_bundle(tmp_path / "b", make_sampling(mask_policy="predicted"), golden=True, head=True)
    add_kernels(path, code=lambda sm, name: other if name == harmed else name)
    bundle, said = load_bundle(path), list[str]()
    trt.driver.lenient = True
    loop = open_loop(bundle, store(bundle), "this GPU", None, said.append)
    assert isinstance(loop, HostLoop)
    assert "leaves the steps between its networks to the CPU: it " in said[1]


def test_another_degradation_form_leaves_the_steps_to_the_cpu(
    tmp_path: Path, trt: TensorRT, checked_here: list[str]
) -> None:
    path = write_bundle(tmp_path / "b", golden=True)
    add_kernels(path)
    manifest = load_bundle(path).manifest
    model = msgspec.structs.replace(manifest.model, illumination=Illumination(5e-5, 0.0, 1e5, 0.0))
    write_manifest(path, msgspec.structs.replace(manifest, model=model))
    bundle, said = load_bundle(path), list[str]()
    assert isinstance(open_loop(bundle, store(bundle), "this GPU", None, said.append), HostLoop)
    assert "degradation form" in said[-1]


def test_batches_stay_with_the_engine_and_other_sizes_go_elsewhere(tmp_path: Path, trt: TensorRT) -> None:
    bundle, said = made(tmp_path / "b"), list[str]()
    gpu, cpu = loops(bundle)
    both = WithinProfile(gpu, bundle, store(bundle, optimization_level=1).record.key, lambda: cpu, said.append)
    y, mask = photos(5)
    found = both.restore(y, mask, bundle.table(2), [1] * 5)
    assert same(found, gpu.restore(y, mask, bundle.table(2), [1] * 5))
    assert not said


def test_seconds_are_those_of_the_gpu(tmp_path: Path, trt: TensorRT) -> None:
    """The clock of the driver made in Python counts one millisecond from event to event."""
    bundle = made(tmp_path / "b")
    gpu, _ = loops(bundle)
    arguments = (*photos(), bundle.table(2), [1])
    single, captured = gpu.restore(*arguments), gpu.restore(*arguments)
    assert (single.prior_seconds, single.diffusion_seconds) == pytest.approx((0.001, 0.001))
    assert (captured.prior_seconds, captured.diffusion_seconds) == pytest.approx((0.0, 0.001))
