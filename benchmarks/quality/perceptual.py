"""LPIPS, where it can run.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (2018).
The package `lpips` is optional. It would fetch the weights of its AlexNet from the network: here they must be there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from shadowdiffusion.benchmarks.quality.metrics import Image

Distance = Callable[[Image, Image], float]


def load() -> tuple[Distance | None, str]:
    """The distance of two photos float[H, W, 3] in [0, 1], and which it is; or None, and why there is none."""
    try:
        import lpips
        import torch
    except ModuleNotFoundError as missing:
        return None, f"the package {missing.name} is not installed"
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if not any(folder.glob("alexnet-*.pth")):
        return None, f"there are no weights alexnet-*.pth in {folder}"
    network = lpips.LPIPS(net="alex", verbose=False).eval()

    def planes(image: Image) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)) * 2 - 1

    def distance(restored: Image, truth: Image) -> float:
        with torch.inference_mode():
            return float(network(planes(restored), planes(truth)))

    return distance, "LPIPS 0.1, AlexNet"
