"""A bundle that was loaded before a fork restores photos after it: in the new process, and in the old one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from shadowdiffusion import runtime
from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.errors import RestoreError
from shadowdiffusion.runtime.forking import AFTER_CUDA
from shadowdiffusion.runtime.gpu.cuda import Cuda
from shadowdiffusion.runtime.photo import read_photo, write_photo
from tests.deadlines import LONGEST
from tests.runtime.fake_gpu import Driver
from tests.runtime.tiny import picture, save, write_bundle

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("forking") / "bundle")


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("forking") / "photo.png", picture(80, 120))


@pytest.fixture
def restorer(bundle: Path) -> runtime.Restorer:
    return runtime.load(bundle, "portable", "cpu")


def begun(work: Callable[[], object]) -> int:
    """The id of a new process that does the work; its code is 0 if that raises nothing."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
    raise AssertionError("a process that has ended")


def ended(process: int) -> int:
    """Its code; a process that hangs is killed, which is -9."""
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def forked(work: Callable[[], object]) -> int:
    return ended(begun(work))


def test_bundle_loaded_before_the_fork_restores_in_several_processes(restorer: runtime.Restorer, photo: Path) -> None:
    """As a server does that forks its workers; the networks may still be opening."""
    processes = [begun(lambda: restorer(photo)) for _ in range(3)]
    assert [ended(process) for process in processes] == [0, 0, 0]
    restorer(photo)


def test_restorer_used_before_the_fork_gives_the_same_result_after_it(restorer: runtime.Restorer, photo: Path) -> None:
    """Sessions of ONNX Runtime and threads of libvips were there; also in a fork of a fork."""
    expected = restorer(photo).image

    def same() -> None:
        assert np.array_equal(restorer(photo).image, expected)

    def twice() -> None:
        same()
        assert forked(same) == 0

    assert forked(same) == 0
    assert forked(twice) == 0
    same()


def test_result_is_written_after_the_fork(restorer: runtime.Restorer, photo: Path, tmp_path: Path) -> None:
    restorer(photo)

    def write() -> None:
        read = read_photo(photo)
        write_photo(tmp_path / "copy.png", read)
        assert np.array_equal(read_photo(tmp_path / "copy.png").pixels, read.pixels)

    assert forked(write) == 0
    assert (tmp_path / "copy.png").is_file()


def test_process_forked_after_use_ends_as_others_do(restorer: runtime.Restorer, photo: Path, bundle: Path) -> None:
    """With the exit handlers of Python and of all libraries, which must not wait for threads that are not there."""
    script = (
        "import os, sys, runtime\n"
        "restorer = runtime.load(sys.argv[1], 'portable', 'cpu')\n"
        "restorer(sys.argv[2])\n"
        "process = os.fork()\n"
        "restorer(sys.argv[2])\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) if process else 0)\n"
    )
    arguments = [sys.executable, "-c", script, str(bundle), str(photo)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    run = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=LONGEST, check=False)
    assert run.returncode == 0, run.stderr


def test_fork_while_another_thread_restores(restorer: runtime.Restorer, photo: Path) -> None:
    expected, stop, failures = restorer(photo).image, threading.Event(), list[BaseException]()

    def busy() -> None:
        try:
            while not stop.is_set():
                assert np.array_equal(restorer(photo).image, expected)
        except BaseException as error:
            failures.append(error)

    def same() -> None:
        assert np.array_equal(restorer(photo).image, expected)

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        codes = [forked(same) for _ in range(4)]
    finally:
        stop.set()
        thread.join()
    assert codes == [0] * 4
    assert not failures


class Restored(Dataset[Any]):
    """Restores the same photo for every index."""

    def __init__(self, restorer: runtime.Restorer, photo: Path) -> None:
        self.restorer, self.photo = restorer, photo

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return self.restorer(self.photo).image


def test_workers_of_a_data_loader_restore(restorer: runtime.Restorer, photo: Path) -> None:
    expected = restorer(photo).image
    data = Restored(restorer, photo)
    loader = DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context=get_context("fork"), timeout=LONGEST)
    batches = [batch.numpy() for batch in loader]
    assert [batch.shape[0] for batch in batches] == [2, 2]
    assert all(np.array_equal(image, expected) for batch in batches for image in batch)


@pytest.fixture
def cuda_sessions(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> OnnxRuntimeNetworks:
    """Networks that would run on CUDA; no session is opened."""
    monkeypatch.setattr("shadowdiffusion.runtime.backends.onnxruntime_networks._provider", lambda device: "cuda")
    return OnnxRuntimeNetworks(load_bundle(bundle), "cuda")


def test_cuda_after_a_fork_is_refused(cuda_sessions: OnnxRuntimeNetworks) -> None:
    driver = Driver()
    cuda = Cuda(driver.load)
    image, mask = np.zeros((1, 3, 16, 16), np.float32), np.zeros((1, 1, 16, 16), np.float32)

    def refused() -> None:
        with pytest.raises(RestoreError, match=AFTER_CUDA), cuda.current():
            pass
        with pytest.raises(RestoreError, match=AFTER_CUDA):
            cuda_sessions.prior(image, mask)

    assert forked(refused) == 0
    with cuda.current():
        pass
