"""What a stream was given, recorded once and launched again as a whole: a CUDA graph.

Not run on a GPU yet: the tests give it a driver made of Python functions.
"""

import ctypes
import weakref
from collections.abc import Callable

from shadowdiffusion.runtime.gpu.cuda import Cuda

THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what this thread must not do during capture is refused


class Graph:
    """Everything that `enqueue` gives to the stream of `cuda`; nothing of it runs while it is recorded.

    Raises what `enqueue` raises, and RestoreError if the driver refuses a part of it or the whole. The stream takes
    plain work again afterwards, whatever happened.
    """

    def __init__(self, cuda: Cuda, enqueue: Callable[[], None]) -> None:
        self._cuda, self._handle = cuda, ctypes.c_void_p()
        with cuda.recording():
            recorded = _record(cuda, enqueue)
        try:
            cuda.call("cuGraphInstantiateWithFlags", ctypes.byref(self._handle), recorded, ctypes.c_ulonglong(0))
        finally:
            cuda.attempt("cuGraphDestroy", recorded)
        weakref.finalize(self, cuda.free, "cuGraphExecDestroy", self._handle).atexit = False

    def launch(self) -> None:
        """Queue all of it once more, on the memory it was recorded with."""
        self._cuda.call("cuGraphLaunch", self._handle, ctypes.c_void_p(self._cuda.stream))


def _record(cuda: Cuda, enqueue: Callable[[], None]) -> ctypes.c_void_p:
    stream, graph = ctypes.c_void_p(cuda.stream), ctypes.c_void_p()
    cuda.call("cuStreamBeginCapture_v2", stream, THREAD_LOCAL)
    try:
        enqueue()
    except BaseException:
        cuda.attempt("cuStreamEndCapture", stream, ctypes.byref(graph))
        if graph.value:
            cuda.attempt("cuGraphDestroy", graph)
        raise
    cuda.call("cuStreamEndCapture", stream, ctypes.byref(graph))
    return graph
