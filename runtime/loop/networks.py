"""What the pipeline asks of the networks of a bundle, whoever runs them: each backend is one file behind this."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.bundle.folder import DENOISER, MASK_HEAD, PRIOR, Step
from shadowdiffusion.runtime.errors import RestoreError

Array = npt.NDArray[np.float32]
Sizes = tuple[tuple[int, int], tuple[int, int]]
"""(height, width) in pixels of the smallest and the largest images."""


class Used(NamedTuple):
    """What ran the networks, as records have it."""

    backend: str
    """As `runtime.bundle.engines.BackendName`."""
    engine: str | None
    """Name of its folder; None: the bundle's own graphs."""
    precision: str
    """As `runtime.bundle.engines.Precision`."""
    device: str
    """cpu or cuda."""

    def __str__(self) -> str:
        device = "the CPU" if self.device == "cpu" else "CUDA"
        return f"{self.backend} on {device}, {self.precision}" + (f", engine {self.engine}" if self.engine else "")


PACKED_INPUT = "input"
"""Input of a denoiser that takes y, mask and x_t as one tensor [N, 7, H, W], channels in this order."""


class Networks(Protocol):
    """Prior and denoiser of one bundle. Calls may come from any thread; RestoreError says why one failed."""

    title: str
    """What runs the networks, and on which device, for people."""
    used: Used
    """The same for programs."""
    sizes: Sizes | None
    """Of the images that they take; None: any for which there is memory."""
    on_host: bool
    """Whether they run in the memory of this machine, instead of a GPU's."""

    def prior(self, image: Array, mask: Array) -> tuple[Array, Array]:
        """The degradation prior: image [N, 3, H, W] and mask [N, 1, H, W] -> clean image and shadow matte
        [N, 1, H, W], everything in [0, 1].
        """

    def denoise(self, y: Array, mask: Array, x_t: Array, step: Step, with_mask: bool) -> tuple[Array, Array | None]:
        """The denoiser at one step: y and x_t [N, 3, H, W] in [-1, 1], mask [N, 1, H, W] in [0, 1] -> the
        predicted noise and, `with_mask`, the refined shadow mask [N, 1, H, W] in [0, 1].

        Without the mask its head does not run, which saves about 6 % of a step. The arrays returned belong to
        the caller.
        """


class GraphNetworks(ABC):
    """`Networks` in terms of the bundle's graphs, or of what was made of each, run by file name.

    rows: the time table, if the denoiser reads one. has_head: whether the mask head is a graph of its own. packed:
    whether the denoiser takes its images as PACKED_INPUT.
    """

    used: Used
    sizes: Sizes | None = None
    on_host = False

    def __init__(self, rows: Array | None, has_head: bool, packed: bool = False) -> None:
        self._rows, self._has_head, self._packed = rows, has_head, packed

    @property
    def time_name(self) -> str:
        """The denoiser's input for time."""
        return "t" if self._rows is None else "row"

    def times(self, table: Sequence[Step], count: int) -> Array:
        """What that input is at each step: float32 [S, 1, K], or timesteps [S, count]."""
        if self._rows is None:
            return np.array([[step.t] * count for step in table], np.float32)
        return np.stack([self._rows[step.row, None] for step in table])

    @abstractmethod
    def run(self, name: str, inputs: dict[str, Array], wanted: list[str]) -> list[Array]:
        """The outputs `wanted` of one graph, all finite but `features`. Raises RestoreError."""

    def prior(self, image: Array, mask: Array) -> tuple[Array, Array]:
        """As `Networks`."""
        clean, matte = self.run(PRIOR, {"image": image, "mask": mask}, ["clean", "matte"])
        return clean, matte

    def denoise(self, y: Array, mask: Array, x_t: Array, step: Step, with_mask: bool) -> tuple[Array, Array | None]:
        """As `Networks`."""
        inputs = {"image": y, "mask": mask, "x_t": x_t}
        if self._packed:
            inputs = {PACKED_INPUT: np.concatenate([y, mask, x_t], axis=1)}
        inputs[self.time_name] = self.times([step], len(y))[0]
        if not with_mask:
            return self.run(DENOISER, inputs, ["noise"])[0], None
        noise, last = self.run(DENOISER, inputs, ["noise", "features" if self._has_head else "shadow"])
        return noise, self.run(MASK_HEAD, {"features": last}, ["shadow"])[0] if self._has_head else last


def check_finite(name: str, outputs: dict[str, Array]) -> None:
    """Raise RestoreError if a graph gave anything that is no number; `features` show in the mask made of them."""
    if not all(np.isfinite(output).all() for key, output in outputs.items() if key != "features"):
        raise RestoreError(f"{name} returned values that are not finite: it cannot handle this photo")
