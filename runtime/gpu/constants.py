"""What every restoration with the same steps reads on the device: uploaded once, kept, never written again."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.bundle.folder import Manifest, Step
from shadowdiffusion.runtime.gpu.cuda import Cuda
from shadowdiffusion.runtime.gpu.layout import Layout, aligned
from shadowdiffusion.runtime.gpu.step_table import step_table

Array = npt.NDArray[np.float32]
INDEX_BYTES = 16
"""From one step's number to the next: kernels take addresses that are multiples of this."""


class DeviceConstants:
    """Schedule, step numbers, what the denoiser is told about time, and the bundle's limits, by address.

    `at` has "table", the schedule; "limits", epsilon, floor and ceiling of h; "threshold" of the matte; "start", the
    factors of noise and of the prior's image in the first state. times: float32 [S, ...], what the denoiser is told at
    each step.
    """

    def __init__(self, cuda: Cuda, manifest: Manifest, table: Sequence[Step], times: Array) -> None:
        model, alpha_bar = manifest.model, manifest.sampling.start_alpha_bar or 0.0
        limits = model.illumination
        index = np.zeros((len(table), INDEX_BYTES // 4), np.int32)
        index[:, 0] = np.arange(len(table))
        rows = np.zeros((len(table), aligned(times[0].nbytes) // 4), np.float32)
        rows[:, : times[0].size] = times.reshape(len(table), -1)
        arrays = {
            "table": step_table(manifest.sampling, table),
            "index": index,
            "times": rows,
            "limits": np.array([limits.epsilon, limits.floor, limits.ceiling], np.float32),
            "threshold": np.array([model.matte_threshold], np.float32),
            "start": np.array([sqrt(1 - alpha_bar), sqrt(alpha_bar)], np.float32),
        }
        layout = Layout({name: (array.shape, array.dtype) for name, array in arrays.items()})
        host = np.zeros(layout.size, np.uint8)
        for name, array in arrays.items():
            layout.view(name, host)[...] = array
        self._buffer = cuda.allocate(layout.size)
        self.at = layout.addresses(self._buffer.address)
        self.time_size: int = times[0].nbytes
        self._time_stride: int = rows[0].nbytes
        cuda.upload(self._buffer.address, host)
        cuda.synchronize()

    def index(self, step: int) -> int:
        """Address of the number of a step."""
        return self.at["index"] + step * INDEX_BYTES

    def time(self, step: int) -> int:
        """Address of the `time_size` bytes that the denoiser is told about time at a step."""
        return self.at["times"] + step * self._time_stride
