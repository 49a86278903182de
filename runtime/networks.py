"""What the pipeline asks of the two networks, whoever runs them: each backend is one file behind this protocol."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from runtime.bundle import Step

Array = npt.NDArray[np.float32]


class Networks(Protocol):
    """Prior and denoiser of one bundle. Calls may come from any thread; RestoreError says why one failed."""

    title: str
    """What runs the networks, and on which device, for people."""

    def prior(self, image: Array, mask: Array) -> tuple[Array, Array]:
        """The degradation prior: image [N, 3, H, W] and mask [N, 1, H, W] -> clean image and shadow matte
        [N, 1, H, W], everything in [0, 1].
        """

    def denoise(self, y: Array, mask: Array, x_t: Array, step: Step, with_mask: bool) -> tuple[Array, Array | None]:
        """The denoiser at one step: y and x_t [N, 3, H, W] in [-1, 1], mask [N, 1, H, W] in [0, 1] -> the
        predicted noise and, `with_mask`, the refined shadow mask [N, 1, H, W] in [0, 1].

        Engines do not run the mask head without need, which saves about 6 % of a step. The arrays returned
        belong to the caller.
        """
