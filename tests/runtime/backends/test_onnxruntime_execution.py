"""ONNX Runtime in the loop on the GPU: sessions of the CPU bound to the memory of the driver made in Python.

Binding is the same on both; that runs wait in the stream, as on CUDA where nothing is synchronised, is made here.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from shadowdiffusion.runtime.backends import onnxruntime_execution, onnxruntime_networks
from shadowdiffusion.runtime.backends.device_inputs import DeviceInputs
from shadowdiffusion.runtime.backends.onnxruntime_execution import OnnxRuntimeOnDevice
from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks, open_session
from shadowdiffusion.runtime.bundle.device import Gpu
from shadowdiffusion.runtime.bundle.engines import engine_stores, read_engine
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.errors import RestoreError
from shadowdiffusion.runtime.gpu.cuda import Cuda
from shadowdiffusion.runtime.gpu.device_loop import DeviceLoop
from shadowdiffusion.runtime.loop.host_loop import HostLoop
from shadowdiffusion.runtime.selection import fit, golden_check
from shadowdiffusion.runtime.selection.engine_networks import open_loop
from shadowdiffusion.runtime.selection.golden_check import loop_psnr
from shadowdiffusion.runtime.selection.selection import choose
from tests.runtime.engine_folders import make_key, write_engine
from tests.runtime.fake_engines import tell_by_rows
from tests.runtime.fake_gpu import Driver
from tests.runtime.fake_kernels import add_kernels
from tests.runtime.gpu.test_device_loop import FIELDS, distance, photos, same
from tests.runtime.tiny import make_sampling, write_bundle

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET", "0") in ("", "0"), reason="kernels are compiled here: set TRITON_INTERPRET=1"
)


class Queued:
    """A session on CUDA, whose runs are work of the stream that it was given."""

    def __init__(self, session: onnxruntime.InferenceSession, driver: Driver, stream: int, name: str) -> None:
        self._session, self._driver, self._stream, self._name = session, driver, stream, name
        self.get_inputs, self.get_outputs = session.get_inputs, session.get_outputs
        self.run = session.run
        self.refuse = ""

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def io_binding(self) -> Any:
        binding = self._session.io_binding()

        def bind(function: Any) -> Any:
            def place(name: str, device: str = "cpu", *rest: Any) -> None:
                if rest:
                    *_, shape, address = rest
                    self._driver.at(address, 4 * int(np.prod(shape)))  # raises for memory that is not the device's
                function(name, "cpu", *rest)

            return place

        return SimpleNamespace(
            own=binding,
            bind_input=bind(binding.bind_input),
            bind_output=bind(binding.bind_output),
            bind_ortvalue_input=binding.bind_ortvalue_input,
            get_outputs=binding.get_outputs,
            clear_binding_outputs=binding.clear_binding_outputs,
            copy_outputs_to_cpu=binding.copy_outputs_to_cpu,
        )

    def run_with_iobinding(self, binding: Any, options: Any = None) -> None:
        if self.refuse:
            raise RuntimeError(self.refuse)
        if options is None:  # the networks by themselves, which wait for the end
            self._session.run_with_iobinding(binding.own)
            return
        assert options.get_run_config_entry("disable_synchronize_execution_providers") == "1"
        assert self._driver.capture is None
        self._driver.enqueue(self._stream, self._name, lambda: self._session.run_with_iobinding(binding.own))


class OnCuda:
    """A session on the CPU that says it is on CUDA."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    """A GPU made in Python that ONNX Runtime takes for one with CUDA."""
    made = Driver()

    def opened(graph: str, provider: Any, settings: Any, optimized: bool = False) -> Any:
        session = open_session(graph, "cpu", settings)
        stream = settings.provider_options.get("user_compute_stream")
        assert stream is None or provider == "cuda"
        if provider == "cuda" and not stream:
            return OnCuda(session)
        return Queued(session, made, int(stream), Path(graph).stem) if stream else session

    monkeypatch.setattr(onnxruntime_networks, "_provider", lambda device: "cpu" if device == "cpu" else "cuda")
    monkeypatch.setattr(onnxruntime_networks, "open_session", opened)
    monkeypatch.setattr(onnxruntime_networks, "DeviceInputs", lambda device: DeviceInputs("cpu"))
    monkeypatch.setattr(onnxruntime_execution, "Cuda", lambda: Cuda(made.load))
    monkeypatch.setattr(fit, "find_gpu", lambda: Gpu("NVIDIA Python", 90, "1.0"))
    return made


def made(path: Path, rows: bool = False, kernels: bool = True, **changes: Any) -> Bundle:
    bundle = load_bundle(write_bundle(path, **{"head": True, **changes}))
    if rows:
        tell_by_rows(bundle)
    if kernels:
        add_kernels(path)
    return load_bundle(path)


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "rows, late mask": ({"mask_policy": "late"}, {"rows": True}),
    "closed form with noise": ({"mask_policy": "closed-form", "eta": 1.0}, {}),
    "head inside, from the prior": ({"mask_policy": "predicted", "start": 40}, {"head": False}),
}


@pytest.mark.parametrize(("sampling", "options"), CASES.values(), ids=CASES.keys())
def test_the_results_are_those_of_the_loop_on_the_cpu(
    tmp_path: Path, driver: Driver, sampling: Any, options: dict[str, Any]
) -> None:
    """Photo by photo, in single launches, with a note that says why."""
    bundle, said = made(tmp_path / "b", sampling=make_sampling(**sampling), **options), list[str]()
    gpu = DeviceLoop(bundle, OnnxRuntimeOnDevice(bundle), said.append)
    cpu = HostLoop(bundle, OnnxRuntimeNetworks(bundle, "cpu", 1))
    y, mask = photos(2)
    for masks, with_mask in ((mask, True), (None, False)):
        arguments = (y, masks, bundle.table(2), [7, 8], with_mask)
        runs, expected = [gpu.restore(*arguments) for _ in range(2)], cpu.restore(*arguments)
        assert distance(runs[0], expected) > 100
        assert same(*runs)
    assert said == [
        "ONNX Runtime on CUDA runs in single launches, without CUDA graphs: "
        "ONNX Runtime takes and moves memory while it runs"
    ]
    assert "cuStreamBeginCapture_v2" not in driver.calls


def test_a_step_moves_nothing_between_host_and_device(tmp_path: Path, driver: Driver) -> None:
    bundle = made(tmp_path / "b")
    gpu, (y, mask) = DeviceLoop(bundle, OnnxRuntimeOnDevice(bundle), print), photos()
    counts = []
    for steps in (2, 5):
        gpu.restore(y, mask, bundle.table(steps), [0])
        driver.done.clear()
        gpu.restore(y, mask, bundle.table(steps), [0])
        counts.append(driver.done.copy())
    short, long = counts
    assert short["upload"] == long["upload"] == short["download"] == long["download"] == 1
    per_step = {name: (long[name] - short[name]) / 3 for name in long if long[name] != short[name]}
    assert per_step == {"denoiser": 1, "prior_step_state": 1, "copy": 1}


def test_what_onnx_runtime_refuses_is_one_line_and_the_next_photo_works(tmp_path: Path, driver: Driver) -> None:
    bundle = made(tmp_path / "b")
    networks = OnnxRuntimeOnDevice(bundle)
    gpu, (y, mask) = DeviceLoop(bundle, networks, print), photos()
    expected = gpu.restore(y, mask, bundle.table(2), [1])
    session: Any = networks._session("denoiser.onnx")
    session.refuse = "CUBLAS\nfailure"
    with pytest.raises(RestoreError, match=r"denoiser\.onnx failed at 24x16 pixels: CUBLAS failure"):
        gpu.restore(y, mask, bundle.table(2), [1])
    session.refuse = ""
    assert same(gpu.restore(y, mask, bundle.table(2), [1]), expected)
    assert networks.prior(*photos(size=(16, 24)))[0].shape == (1, 3, 16, 24)


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The golden check of the loop happens in this process, since the driver is here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names: list[str] = []

    def check(bundle: Bundle, engine: Any, threads: int | None, subject: str) -> tuple[float | None, str | None]:
        names.append(f"{subject} of {engine.name if engine else 'the bundle'}")
        return loop_psnr(bundle, engine), None

    monkeypatch.setattr(golden_check, "_in_another_process", check)
    return names


def test_portable_networks_on_cuda_leave_nothing_to_the_cpu(tmp_path: Path, driver: Driver, checked: list[str]) -> None:
    """After a golden check that is remembered."""
    bundle, said = made(tmp_path / "b", golden=True), list[str]()
    for _ in range(2):
        loop = choose(bundle, "portable", "auto", 1, said.append)
        assert isinstance(loop, DeviceLoop)
    assert checked == ["loop of the bundle"]
    assert said == ["checking the GPU kernels with ONNX Runtime on CUDA, which are new to this machine"]
    assert isinstance(choose(bundle, "portable", "cpu", 1, said.append), HostLoop)
    assert len(said) == 1


def test_engines_of_onnx_runtime_for_cuda_do_so_too(tmp_path: Path, driver: Driver, checked: list[str]) -> None:
    bundle, said = made(tmp_path / "b", golden=True), list[str]()
    key = make_key(bundle.path, backend="onnxruntime", provider="cuda")
    engine = read_engine(write_engine(engine_stores(bundle)[0], key))
    for name, network in engine.record.networks.items():
        (engine.path / network.file).write_bytes((bundle.path / name).read_bytes())
    loop = open_loop(bundle, engine, "this GPU", None, said.append)
    assert isinstance(loop, DeviceLoop), said
    assert loop.title == f"engine {engine.name}"
    assert checked == [f"loop of {engine.name}"]


def test_without_kernels_the_steps_are_left_to_the_cpu(tmp_path: Path, driver: Driver) -> None:
    bundle, said = made(tmp_path / "b", kernels=False), list[str]()
    loop = choose(bundle, "portable", "auto", 1, said.append)
    assert isinstance(loop, HostLoop)
    (line,) = said
    assert line.startswith("ONNX Runtime on CUDA leaves the steps between its networks to the CPU: the bundle has no ")
    y, mask = photos()
    assert all(np.isfinite(getattr(loop.restore(y, mask, bundle.table(2), [0], True), name)).all() for name in FIELDS)


def test_portable_sessions_on_cuda_keep_to_float32_and_search_for_nothing(tmp_path: Path, driver: Driver) -> None:
    networks = OnnxRuntimeOnDevice(made(tmp_path / "b"))
    given = networks._settings.provider_options
    assert (given["use_tf32"], given["cudnn_conv_algo_search"]) == ("0", "HEURISTIC")
    assert onnxruntime_networks.OnnxRuntimeNetworks(made(tmp_path / "c"), "cpu")._settings.provider_options == {}
