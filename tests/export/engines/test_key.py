"""What an engine depends on, and how a difference is put into words."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shadowdiffusion.export.engines.key import EngineOptions, describe, engine_key, folder_name, nearest
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.runtime.bundle.device import Gpu, find_gpu
from shadowdiffusion.runtime.bundle.engines import EngineKey, differences
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.bundle.opening import load_bundle
from tests.runtime.tiny import write_bundle

RTX = "1.7.1.116"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(write_bundle(tmp_path_factory.mktemp("key") / "b"))


def key(bundle: Bundle, gpu: Gpu | None = None, **changes: Any) -> EngineKey:
    defaults: dict[str, Any] = {"backend": "tensorrt-rtx", "sm": (89,), "profile": "256x256", "precision": "fp16"}
    return engine_key(EngineOptions(**(defaults | changes)), bundle, RTX, gpu)


def test_a_key_says_what_it_is_for(bundle: Bundle) -> None:
    assert describe(key(bundle)) == "SM 89, TensorRT for RTX 1.7.1.116, fp16, 256x256"
    assert describe(key(bundle, sm=(120, 89, 89))).startswith("SM 89 and 120,")
    assert describe(key(bundle, sm=())).startswith("any GPU,")
    gpu = Gpu("NVIDIA L4", 89, "580.65.06")
    assert describe(key(bundle, gpu, sm=())).startswith("NVIDIA L4 (SM 89), ")
    full = key(bundle, gpu, sm=(), backend="tensorrt")
    assert describe(full).startswith("NVIDIA L4 (SM 89, driver 580.65.06), ")
    assert key(bundle, gpu) == key(bundle)  # named SMs: this machine's GPU does not matter
    assert set(key(bundle).onnx) == {"prior.onnx", "denoiser.onnx"}


def test_one_size_stands_for_three_and_the_default_covers_the_working_size(bundle: Bundle) -> None:
    assert key(bundle).profile == "256x256:256x256:256x256"
    assert key(bundle, batch="2").batch == "2:2:2"
    assert key(bundle, profile="64X32:64x64:128x64").profile == "64x32:64x64:128x64"
    assert key(bundle, profile=None).profile == "48x48:48x48:48x48"  # working size 48, below the usual smallest
    model = msgspec.structs.replace(bundle.manifest.model, working_size=500)
    larger = Bundle(bundle.path, msgspec.structs.replace(bundle.manifest, model=model))
    assert key(larger, profile=None).profile == "128x128:504x504:504x504"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"profile": "256"}, "HEIGHTxWIDTH"),
        ({"profile": "256x256:512x512"}, "three of them"),
        ({"profile": "0x8"}, "HEIGHTxWIDTH"),
        ({"profile": "-8x8"}, "HEIGHTxWIDTH"),
        ({"profile": "100x256"}, "multiples of 8: use 96x256"),
        ({"profile": "512x512:256x256:512x512"}, "must rise"),
        ({"profile": "8x64:16x32:16x64"}, "must rise"),
        ({"batch": "0"}, "1:1:4"),
        ({"batch": "4:1:1"}, "must rise"),
        ({"batch": "1:2"}, "three of them"),
        ({"batch": "x"}, "number"),
    ],
)
def test_sizes_that_cannot_be_are_refused(bundle: Bundle, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ExportError, match=words):
        key(bundle, **changes)


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "device": ({"device": "NVIDIA L4"}, "device is NVIDIA L4, not unknown"),
    "sm": ({"sm": [86, 120]}, "sm is 86 and 120, not 89"),
    "driver": ({"driver": "570.1"}, "driver is 570.1, not unknown"),
    "backend": ({"backend": "tensorrt"}, "backend is tensorrt, not tensorrt-rtx"),
    "backend_version": ({"backend_version": "1.6.0"}, "backend version is 1.6.0, not 1.7.1.116"),
    "provider": ({"provider": "cpu"}, "provider is cpu, not unknown"),
    "onnx": ({"onnx": {"denoiser.onnx": "0" * 64}}, "denoiser.onnx and prior.onnx changed since"),
    "precision": ({"precision": "fp32"}, "precision is fp32, not fp16"),
    "profile": ({"profile": "8x8:8x8:8x8"}, "profile is 8x8:8x8:8x8, not 256x256:256x256:256x256"),
    "batch": ({"batch": "1:1:1"}, "batch is 1:1:1, not 1:1:4"),
    "optimization_level": ({"optimization_level": 5}, "optimization level is 5, not 3"),
    "flags": ({"flags": ["strip-weights"]}, "flags is strip-weights, not none"),
}


def test_every_field_of_the_key_is_compared(bundle: Bundle) -> None:
    assert list(CHANGES) == list(EngineKey.__struct_fields__)


@pytest.mark.parametrize(("change", "words"), CHANGES.values(), ids=CHANGES.keys())
def test_a_difference_is_named_and_changes_the_folder(bundle: Bundle, change: dict[str, Any], words: str) -> None:
    wanted = key(bundle)
    stored = msgspec.structs.replace(wanted, **change)
    assert differences(stored, wanted) == [words]
    assert folder_name(stored) != folder_name(wanted)


def test_the_nearest_differs_in_the_fewest_fields(bundle: Bundle) -> None:
    wanted = key(bundle)
    far = msgspec.structs.replace(wanted, precision="fp32", sm=[75])
    near = msgspec.structs.replace(wanted, batch="1:1:1")
    assert nearest({"far": far, "near": near}, wanted) == ("near", ["batch is 1:1:1, not 1:1:4"])
    assert nearest({}, wanted) is None


def test_folder_names_are_plain(bundle: Bundle) -> None:
    name = folder_name(key(bundle, Gpu("NVIDIA GeForce RTX 5090 / Ti", 120, "580"), sm=()))
    assert name.startswith("nvidia-geforce-rtx-5090-ti_tensorrt-rtx-1.7.1.116_fp16_256x256_")
    assert folder_name(key(bundle, sm=())).startswith("portable_")
    assert folder_name(key(bundle, profile="8x8:16x16:32x32")).split("_")[3] == "8x8-32x32"


class Driver:
    """libcuda as far as it is asked; `broken` names a call that fails."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            if name == self.broken:
                return 100
            if name == "cuDeviceGetName":
                arguments[0].value = b"NVIDIA L4"
            elif name == "cuDeviceGetAttribute":
                arguments[0]._obj.value = {75: 8, 76: 9}[arguments[1]]
            elif name == "cuDriverGetVersion":
                arguments[0]._obj.value = 13020
            return 0

        return call


def test_the_driver_is_asked_for_the_gpu(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("580.65.06\n")
    assert find_gpu(lambda _: Driver(), tmp_path / "version") == Gpu("NVIDIA L4", 89, "580.65.06")
    assert find_gpu(lambda _: Driver(), tmp_path / "absent") == Gpu("NVIDIA L4", 89, "CUDA 13.2")


@pytest.mark.parametrize("broken", ["cuInit", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute"])
def test_a_driver_without_a_gpu_is_no_gpu(broken: str) -> None:
    assert find_gpu(lambda _: Driver(broken)) is None


def test_no_driver_is_no_gpu() -> None:
    assert find_gpu(lambda _: ctypes.CDLL("libcuda-that-nobody-has.so.1")) is None
