"""The loop on a real GPU with its compiled kernels, and, for the tests' own sake, on the one made in Python.

No TensorRT is needed: the networks are PyTorch's. Every kernel is compared with what NumPy does in its place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shadowdiffusion.runtime.backends import tensorrt_networks
from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks
from shadowdiffusion.runtime.backends.tensorrt_networks import TensorRTNetworks
from shadowdiffusion.runtime.bundle.device import find_gpu
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.gpu.cuda import Buffer, Cuda
from shadowdiffusion.runtime.gpu.cuda_kernels import CudaKernels
from shadowdiffusion.runtime.gpu.device_loop import DeviceLoop
from shadowdiffusion.runtime.gpu.step_table import step_table
from shadowdiffusion.runtime.loop.host_loop import HostLoop
from shadowdiffusion.runtime.loop.noise import gaussian
from shadowdiffusion.runtime.loop.prior_update import blend_coefficients, closed_form_mask, confident_mask, illumination
from shadowdiffusion.runtime.selection.golden_check import loop_psnr
from tests.runtime.fake_engines import store
from tests.runtime.fake_gpu import Driver
from tests.runtime.fake_kernels import add_kernels
from tests.runtime.tiny import make_sampling, write_bundle
from tests.runtime.torch_tensorrt import OnDriver, OnGpu, TorchTensorRT

ROOT = Path(__file__).resolve().parents[3]
INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") not in ("", "0")
MACHINES = [
    pytest.param("python", marks=pytest.mark.skipif(not INTERPRETED, reason="needs TRITON_INTERPRET=1")),
    pytest.param("gpu", marks=[pytest.mark.gpu, pytest.mark.xdist_group("cuda")]),
]
IMAGES, HEIGHT, WIDTH = 2, 24, 40
IMAGE, PLANE = (IMAGES, 3, HEIGHT, WIDTH), (IMAGES, 1, HEIGHT, WIDTH)
SAMPLING = make_sampling(eta=1.0, mask_policy="predicted", start=40)


EVERY_KERNEL = """
import sys
from pathlib import Path
from shadowdiffusion.export.kernels import add_kernels
from shadowdiffusion.kernels.ahead_of_time import all_variants
from shadowdiffusion.runtime.gpu import program
program.needed_kernels = lambda sampling: {variant.name for variant in all_variants()}
add_kernels(Path(sys.argv[1]), [int(sys.argv[2])])
"""


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with all kernels compiled for this GPU, in another process, as `shadowdiffusion export kernels` does."""
    gpu = find_gpu()
    assert gpu
    path = write_bundle(tmp_path_factory.mktemp("compiled") / "b", SAMPLING, golden=True, head=True)
    command = [sys.executable, "-c", EVERY_KERNEL, str(path), str(gpu.sm)]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stderr
    return path


class Device:
    """A GPU, real or not, with arrays put there by name."""

    def __init__(self, bundle: Bundle, cuda: Cuda) -> None:
        self.bundle, self.cuda, self.kernels = bundle, cuda, CudaKernels(bundle, cuda)
        self._buffers: dict[str, Buffer] = {}

    def put(self, **arrays: Any) -> dict[str, int]:
        """Upload arrays; returns their addresses."""
        for name, array in arrays.items():
            self._buffers[name] = self.cuda.allocate(array.nbytes)
            self.cuda.upload(self._buffers[name].address, array)
        self.cuda.synchronize()
        return {name: self._buffers[name].address for name in arrays}

    def get(self, name: str, shape: tuple[int, ...], kind: Any = np.float32) -> Any:
        array = np.zeros(shape, kind)
        self.cuda.download(array, self._buffers[name].address)
        self.cuda.synchronize()
        return array

    def launch(self, name: str, **arguments: int) -> None:
        self.kernels.launch(name, IMAGES, plane=HEIGHT * WIDTH, **arguments)
        self.cuda.synchronize()


@pytest.fixture(params=MACHINES)
def device(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """With TensorRT's module in place, and its context that of this thread."""
    gpu: OnGpu | OnDriver
    if request.param == "gpu":
        path = Path(shutil.copytree(request.getfixturevalue("compiled"), tmp_path / "b"))
        gpu, cuda = OnGpu(), Cuda()
    else:
        driver = Driver()
        gpu, cuda, path = OnDriver(driver), Cuda(driver.load), tmp_path / "b"
        monkeypatch.setattr(tensorrt_networks, "Cuda", lambda: Cuda(driver.load))
        add_kernels(write_bundle(path, SAMPLING, golden=True, head=True))
    monkeypatch.setitem(sys.modules, "tensorrt", TorchTensorRT(gpu))
    with cuda.current():
        yield Device(load_bundle(path), cuda)


def random(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random(shape, np.float32)


def stream() -> Any:
    rows = np.zeros((IMAGES, 4), np.int64)
    rows[:, 0] = 7, -2
    return rows


def noise(step: int) -> Any:
    return np.stack([gaussian(HEIGHT, WIDTH, seed=seed, step=step) for seed in (7, 2**64 - 2)])


@pytest.mark.parametrize("kind", ["photo", "packed_fp32", "packed_fp16"])
@pytest.mark.parametrize("from_prior", [False, True])
def test_the_first_state(device: Device, kind: str, from_prior: bool) -> None:
    half = kind.endswith("fp16")
    y, clean, mask = random(*IMAGE), random(*IMAGE, seed=1), random(*PLANE, seed=2)
    channels, type_ = 3 if kind == "photo" else 7, np.float16 if half else np.float32
    shape = (IMAGES, channels, HEIGHT, WIDTH)
    places = device.put(
        y=y,
        clean=clean,
        mask=mask,
        stream=stream(),
        start=np.array([0.6, 0.8], np.float32),
        index=np.zeros(4, np.int32),
        state=np.full(IMAGE, np.nan, np.float32),
        network=np.full(shape, np.nan, type_),
    )
    device.launch(f"start_state_{kind}{'_prior' * from_prior}", width=WIDTH, **places)
    state = noise(0)
    if from_prior:
        state = np.float32(0.6) * state + np.float32(0.8) * (2 * clean - 1)
    np.testing.assert_allclose(device.get("state", IMAGE), state, atol=3e-6)
    whole = np.concatenate([2 * y - 1, mask, device.get("state", IMAGE)], 1)[:, :channels]
    np.testing.assert_allclose(device.get("network", shape, type_), whole, rtol=1e-3 if half else 1e-7, atol=1e-6)


@pytest.mark.parametrize("name", ["prior_coefficients", "prior_coefficients_h"])
def test_illumination_and_blend(device: Device, name: str) -> None:
    table = device.bundle.table(5)
    y, clean = random(*IMAGE), random(*IMAGE, seed=1)
    limits = device.bundle.manifest.model.illumination
    h = illumination(y, clean, limits)
    places = device.put(
        y=y,
        clean=clean,
        limits=np.array([limits.epsilon, limits.floor, limits.ceiling], np.float32),
        table=step_table(SAMPLING, table),
        index=np.full(4, 3, np.int32),
        **{key: np.full(IMAGE, np.nan, np.float32) for key in "abh"},
    )
    device.launch(name, **places)
    a, b = blend_coefficients(y, h, table[3].rho)
    np.testing.assert_allclose(device.get("a", IMAGE), a, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(device.get("b", IMAGE), b, rtol=1e-5, atol=1e-6)
    if name.endswith("_h"):
        np.testing.assert_allclose(device.get("h", IMAGE), h, rtol=1e-6)


def test_the_masks(device: Device) -> None:
    """The prior's own, then Eq. 14."""
    matte, h, v = random(*PLANE), 0.2 + random(*IMAGE, seed=1), random(*PLANE, seed=2)
    table = device.bundle.table(5)
    places = device.put(
        matte=matte,
        threshold=np.array([0.25], np.float32),
        mask=np.full(PLANE, np.nan, np.float32),
        h=h,
        v=v,
        sums=np.full((IMAGES, 4, 128), np.nan, np.float32),
        table=step_table(SAMPLING, table),
        index=np.ones(4, np.int32),
        refined=np.full(PLANE, np.nan, np.float32),
        seen=np.full(PLANE, np.nan, np.float32),
    )

    def given(*names: str) -> dict[str, int]:
        return {name: places[name] for name in names}

    device.launch("confident_mask", **given("matte", "threshold", "mask"))
    mask = confident_mask(matte, 0.25)
    np.testing.assert_array_equal(device.get("mask", PLANE), mask)
    device.launch("confident_depth", **given("sums", "h", "mask"))
    names = ("refined", "seen", "v", "h", "mask", "sums", "table", "index")
    device.launch("mask_update_closed_form", **given(*names))
    np.testing.assert_allclose(device.get("refined", PLANE), closed_form_mask(h, v, mask, table[1].rho), atol=2e-6)
    np.testing.assert_array_equal(device.get("seen", PLANE), device.get("refined", PLANE))
    device.launch("mask_update", **given(*names))
    np.testing.assert_array_equal(device.get("refined", PLANE), v)


@pytest.mark.parametrize("free", ["", "_free"])
@pytest.mark.parametrize("target", ["state", "packed_fp32", "packed_fp16", "last"])
@pytest.mark.parametrize("fresh", ["", "_noise"])
def test_a_step(device: Device, target: str, free: str, fresh: str) -> None:
    if target == "last" and fresh:
        return
    half, packed = "fp16" in target, "packed" in target
    x, e, a, b, y = (random(*IMAGE, seed=seed) for seed in range(5))
    mask, table = random(*PLANE, seed=6), step_table(SAMPLING, device.bundle.table(5))
    shape, type_ = (IMAGES, 7, HEIGHT, WIDTH), np.float16 if half else np.float32
    places = device.put(
        state=x,
        estimate=e,
        a=a,
        b=b,
        y=y,
        mask=mask,
        table=table,
        index=np.full(4, 2, np.int32),
        stream=stream(),
        network=np.full(shape, np.nan, type_),
    )
    device.launch(f"prior_step_{target}{free}{fresh}", out=places["state"], width=WIDTH, condition=1, **places)
    row = table[2].astype(np.float64)
    state = (x - row[0] * e) * row[1]
    if not free:
        state = a + b * state
    if not target.endswith("last"):
        state = row[2] * state + row[3] * e + (row[4] * noise(3) if fresh else 0)
    found = device.get("state", IMAGE)
    np.testing.assert_allclose(found, state, rtol=2e-6, atol=3e-6)
    if packed:
        whole = np.concatenate([2 * y - 1, mask, found], 1)
        np.testing.assert_allclose(device.get("network", shape, type_), whole, rtol=1e-3 if half else 1e-7, atol=1e-6)


@pytest.mark.parametrize("blind", [False, True])
def test_the_whole_loop(device: Device, blind: bool) -> None:
    """Against the portable networks on the CPU; three photos in batches of two, as graphs after the first time."""
    bundle, said = device.bundle, list[str]()
    gpu = DeviceLoop(bundle, TensorRTNetworks(bundle, store(bundle)), said.append)
    cpu = HostLoop(bundle, OnnxRuntimeNetworks(bundle, "cpu", 1))
    y, mask = random(3, 3, 17, 22), None if blind else (random(3, 1, 17, 22, seed=1) > 0.5).astype(np.float32)
    arguments = (y, mask, bundle.table(2), [1, 2, 3], True)
    expected, runs = cpu.restore(*arguments), [gpu.restore(*arguments) for _ in range(3)]
    for name in ("image", "clean", "mask", "illumination"):
        np.testing.assert_allclose(getattr(runs[0], name), getattr(expected, name), atol=1e-4)
        for run in runs[1:]:
            np.testing.assert_array_equal(getattr(run, name), getattr(runs[0], name))
    single = gpu.restore(y[1:2], None if mask is None else mask[1:2], bundle.table(2), [2], True)
    np.testing.assert_allclose(single.image, runs[0].image[1:2], atol=1e-5)
    assert not said, "graphs were captured"


def test_the_golden_check_of_the_loop(device: Device) -> None:
    assert loop_psnr(device.bundle, store(device.bundle)) > 90
