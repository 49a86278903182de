"""The CUDA driver through ctypes: what is copied, what is freed, and what a refusal says. The driver is Python."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

from runtime.cuda import Cuda
from runtime.errors import RestoreError
from tests.runtime.fake_gpu import Driver


@pytest.fixture
def driver() -> Driver:
    return Driver(size=4 * 2**20)


def test_what_goes_up_comes_down_once_the_stream_was_waited_for(driver: Driver) -> None:
    cuda = Cuda(driver.load)
    sent = np.arange(6, dtype=np.float32).reshape(2, 3)
    received = np.zeros_like(sent)
    buffer = cuda.allocate(sent.nbytes)
    cuda.upload(buffer.address, sent)
    cuda.download(received, buffer.address)
    assert not received.any()
    cuda.synchronize()
    np.testing.assert_array_equal(received, sent)


def test_memory_is_given_back_with_its_buffer_in_any_thread(driver: Driver) -> None:
    cuda = Cuda(driver.load)
    held = [cuda.allocate(1000), cuda.allocate(24)]
    assert driver.used() == 1024
    thread = threading.Thread(target=held.pop)
    thread.start()
    thread.join()
    gc.collect()
    assert driver.used() == 1000
    del held[:]
    gc.collect()
    assert driver.used() == 0


def test_too_little_memory_is_said_with_figures_and_advice(driver: Driver) -> None:
    cuda = Cuda(driver.load)
    kept = cuda.allocate(3 * 2**20)
    with pytest.raises(RestoreError, match=r"\(2 MiB are needed, 1 of 4 MiB are free\): use a smaller working size"):
        cuda.allocate(2 * 2**20)
    assert kept.size == 3 * 2**20


def test_another_thread_enters_first(driver: Driver) -> None:
    cuda = Cuda(driver.load)
    errors: list[str] = []

    def work() -> None:
        try:
            cuda.allocate(1)
        except RestoreError as error:
            errors.append(str(error))
        cuda.enter()
        cuda.allocate(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == [
        "the GPU cannot be used: cuMemAlloc_v2 failed with CUDA_ERROR_INVALID_CONTEXT; use the CPU backend"
    ]


def test_a_fault_on_the_device_is_named(driver: Driver) -> None:
    cuda = Cuda(driver.load)
    driver.refused["cuStreamSynchronize"] = 700
    with pytest.raises(RestoreError, match="cuStreamSynchronize failed with CUDA_ERROR_ILLEGAL_ADDRESS"):
        cuda.synchronize()
    driver.refused["cuStreamSynchronize"] = 12345
    with pytest.raises(RestoreError, match="failed with error 12345"):
        cuda.synchronize()


def test_no_driver_and_no_gpu_are_one_line(driver: Driver) -> None:
    def absent(name: str) -> Driver:
        raise OSError(f"{name}: cannot open shared object file")

    with pytest.raises(RestoreError, match=r"no NVIDIA driver here .*use the CPU backend"):
        Cuda(absent)
    driver.refused["cuDeviceGet"] = 101
    with pytest.raises(RestoreError, match="cuDeviceGet failed with error 101"):
        Cuda(driver.load)


@pytest.mark.gpu
def test_a_real_driver_copies() -> None:
    cuda = Cuda()
    sent = np.random.default_rng(0).standard_normal((3, 5), np.float32)
    received = np.zeros_like(sent)
    buffer = cuda.allocate(sent.nbytes)
    cuda.upload(buffer.address, sent)
    cuda.download(received, buffer.address)
    cuda.synchronize()
    np.testing.assert_array_equal(received, sent)
