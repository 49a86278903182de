"""The CUDA driver through ctypes: what is copied, waited for, captured and freed, and what a refusal says.

The driver is made in Python.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from shadowdiffusion.runtime.errors import OutOfMemoryError, RestoreError
from shadowdiffusion.runtime.gpu.cuda import Cuda, Event, Pinned
from shadowdiffusion.runtime.gpu.cuda_graph import Graph
from tests.runtime.fake_gpu import CONTEXT, Driver

CALLERS = 0xCA11
"""A context that the thread had before."""


@pytest.fixture
def driver() -> Driver:
    return Driver(size=4 * 2**20)


@pytest.fixture
def cuda(driver: Driver) -> Iterator[Cuda]:
    """Its context is that of this thread."""
    cuda = Cuda(driver.load)
    with cuda.current():
        yield cuda


def test_what_goes_up_comes_down_once_the_stream_was_waited_for(cuda: Cuda) -> None:
    sent = np.arange(6, dtype=np.float32).reshape(2, 3)
    received = np.zeros_like(sent)
    buffer = cuda.allocate(sent.nbytes)
    cuda.upload(buffer.address, sent)
    cuda.download(received, buffer.address)
    assert not received.any()
    cuda.synchronize()
    np.testing.assert_array_equal(received, sent)


def test_the_compute_capability_is_known(driver: Driver) -> None:
    driver.sm = 121
    assert Cuda(driver.load).sm == 121


def check_copies_and_fills(cuda: Cuda) -> None:
    received = np.zeros((4, 4), np.float32)
    buffer = cuda.allocate(received.nbytes)
    sent = np.arange(4, dtype=np.float32)
    cuda.fill(buffer.address, -0.625, 16)
    cuda.upload(buffer.address, sent)
    cuda.copy(buffer.address + 32, buffer.address, 16)
    cuda.download(received, buffer.address)
    cuda.synchronize()
    whole = np.full(4, -0.625)
    np.testing.assert_array_equal(received, [np.arange(4), whole, np.arange(4), whole])


def check_events(cuda: Cuda) -> None:
    """What goes up on the other stream is there when this one goes on."""
    up, down = Pinned(cuda, 4 * 2**18), Pinned(cuda, 4 * 2**18)
    sent, received = (pinned.bytes.view(np.float32) for pinned in (up, down))
    sent[:] = np.arange(2**18)
    buffer = cuda.allocate(sent.nbytes)
    started, uploaded, ended = (Event(cuda) for _ in range(3))
    for factor in (1, 2):
        sent[:] = factor * np.arange(2**18)
        started.record(cuda.upload_stream)
        cuda.upload(buffer.address, sent, cuda.upload_stream)
        uploaded.record(cuda.upload_stream)
        uploaded.hold(cuda.stream)
        cuda.download(received, buffer.address)
        ended.record(cuda.stream)
        ended.synchronize()
        np.testing.assert_array_equal(received, sent)
        assert ended.seconds_since(started) > 0


def check_graph(cuda: Cuda) -> None:
    """A graph follows what its memory holds when it is launched, and nothing runs while it is captured."""
    received = np.zeros(4, np.float32)
    buffer = cuda.allocate(received.nbytes)

    def enqueue() -> None:
        cuda.copy(buffer.address + 8, buffer.address, 8)
        cuda.fill(buffer.address, 5.0, 1)

    sent = np.arange(4, dtype=np.float32)
    cuda.upload(buffer.address, sent)
    graph = Graph(cuda, enqueue)
    cuda.download(received, buffer.address)
    cuda.synchronize()
    np.testing.assert_array_equal(received, [0, 1, 2, 3])
    for first, then in ((0, [5, 1, 0, 1]), (9, [5, 9, 9, 9])):
        sent[:2] = first, max(first, 1)
        cuda.upload(buffer.address, sent[:2])
        graph.launch()
        cuda.download(received, buffer.address)
        cuda.synchronize()
        np.testing.assert_array_equal(received, then)


CHECKS = [check_copies_and_fills, check_events, check_graph]


@pytest.mark.parametrize("check", CHECKS)
def test_the_driver_is_used_right(driver: Driver, cuda: Cuda, check: Any) -> None:
    check(cuda)
    gc.collect()
    assert not driver.memory
    assert not driver.pinned
    assert not driver.points
    assert not driver.graphs


@pytest.mark.gpu
@pytest.mark.xdist_group("cuda")
@pytest.mark.parametrize("check", CHECKS)
def test_a_real_driver_does_the_same(check: Any) -> None:
    cuda = Cuda()
    with cuda.current():
        check(cuda)


def test_an_event_that_nobody_waits_for_leaves_the_streams_apart(cuda: Cuda) -> None:
    """The driver made in Python would show a wait that is missing."""
    sent, received = np.ones(1, np.float32), np.zeros(1, np.float32)
    buffer = cuda.allocate(4)
    cuda.upload(buffer.address, sent, cuda.upload_stream)
    cuda.download(received, buffer.address)
    cuda.synchronize()
    assert np.isnan(received).all()


def test_memory_is_given_back_with_its_buffer_in_any_thread(driver: Driver, cuda: Cuda) -> None:
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


def test_too_little_memory_is_said_with_figures_and_advice(driver: Driver, cuda: Cuda) -> None:
    kept = cuda.allocate(3 * 2**20)
    words = r"\(2 MiB are needed, 1 of 4 MiB are free\): use a smaller working size"
    with pytest.raises(OutOfMemoryError, match=words):
        cuda.allocate(2 * 2**20)
    assert kept.size == 3 * 2**20


def test_the_context_is_needed_in_every_thread_and_the_callers_own_comes_back(driver: Driver) -> None:
    driver.contexts[threading.get_ident()] = [CALLERS]
    cuda = Cuda(driver.load)
    assert driver.current() == CALLERS
    words = "cuMemAlloc_v2 failed with CUDA_ERROR_INVALID_CONTEXT; use the CPU backend"
    with pytest.raises(RestoreError, match=words):
        cuda.allocate(1)
    with cuda.current():
        buffer = cuda.allocate(1)
        with cuda.current():
            assert cuda.allocate(1)
        assert driver.current() == CONTEXT
    assert driver.current() == CALLERS
    with pytest.raises(OutOfMemoryError), cuda.current():
        cuda.allocate(2**30)
    assert driver.current() == CALLERS
    del buffer  # freed without the context
    assert driver.current() == CALLERS
    assert not driver.memory
    refused: list[str] = []

    def elsewhere() -> None:
        try:
            cuda.allocate(1)
        except RestoreError as error:
            refused.append(str(error))
        with cuda.current():
            cuda.allocate(1)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "CUDA_ERROR_INVALID_CONTEXT" in refused[0]


def test_a_gpu_that_fails_to_start_leaves_the_callers_context(driver: Driver) -> None:
    driver.contexts[threading.get_ident()] = [CALLERS]
    driver.refused["cuStreamCreate"] = 700
    with pytest.raises(RestoreError, match="cuStreamCreate failed"):
        Cuda(driver.load)
    assert driver.contexts[threading.get_ident()] == [CALLERS]


class Cycle:
    """Holds a buffer that only the garbage collector frees."""

    def __init__(self, cuda: Cuda) -> None:
        self.buffer, self.itself = cuda.allocate(64), self


@pytest.mark.parametrize("collecting", [True, False])
def test_nothing_is_freed_while_a_graph_is_recorded(driver: Driver, cuda: Cuda, collecting: bool) -> None:
    """Neither what the garbage collector would find nor what goes with its last reference: both break a capture."""
    kept, held = cuda.allocate(16), [cuda.allocate(32)]
    gone = weakref.ref(cycle := Cycle(cuda))
    del cycle

    def enqueue() -> None:
        assert not gc.isenabled()
        held.clear()
        junk = [[index] for index in range(10_000)]  # more than the collector waits for
        for item in junk:
            item.append(item)  # type: ignore[arg-type]
        cuda.fill(kept.address, 1.0, 4)

    was = gc.isenabled()
    try:
        (gc.enable if collecting else gc.disable)()
        graph = Graph(cuda, enqueue)
        assert gc.isenabled() == collecting
    finally:
        (gc.enable if was else gc.disable)()
    assert driver.used() <= 16 + 64  # what was dropped meanwhile is free by now
    gc.collect()
    assert gone() is None
    assert driver.used() == 16
    graph.launch()
    cuda.synchronize()


def test_a_fault_on_the_device_is_named(driver: Driver, cuda: Cuda) -> None:
    driver.refused["cuStreamSynchronize"] = 700
    with pytest.raises(RestoreError, match="cuStreamSynchronize failed with CUDA_ERROR_ILLEGAL_ADDRESS"):
        cuda.synchronize()
    driver.refused["cuStreamSynchronize"] = 12345
    with pytest.raises(RestoreError, match="failed with error 12345"):
        cuda.synchronize()


@pytest.mark.parametrize("refused", ["cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags"])
def test_a_capture_that_fails_leaves_nothing_behind(driver: Driver, cuda: Cuda, refused: str) -> None:
    buffer = cuda.allocate(16)
    (driver.in_capture if refused == "cuStreamEndCapture" else driver.refused)[refused] = 901
    with pytest.raises(RestoreError, match=f"{refused} failed with CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"):
        Graph(cuda, lambda: cuda.fill(buffer.address, 1.0, 4))
    assert driver.capture is None
    assert not driver.graphs
    assert not any(driver.streams.values())


def test_an_error_between_beginning_and_end_ends_the_capture(driver: Driver, cuda: Cuda) -> None:
    buffer = cuda.allocate(16)

    def enqueue() -> None:
        cuda.fill(buffer.address, 1.0, 4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Graph(cuda, enqueue)
    assert driver.capture is None
    assert not driver.graphs
    assert not any(driver.streams.values())


def test_no_driver_and_no_gpu_are_one_line(driver: Driver) -> None:
    def absent(name: str) -> Driver:
        raise OSError(f"{name}: cannot open shared object file")

    with pytest.raises(RestoreError, match=r"no NVIDIA driver here .*use the CPU backend"):
        Cuda(absent)
    driver.refused["cuDeviceGet"] = 101
    with pytest.raises(RestoreError, match="cuDeviceGet failed with error 101"):
        Cuda(driver.load)
