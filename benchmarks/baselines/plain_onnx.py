"""Plain ONNX Runtime: the networks as PyTorch's exporter gives them, sessions with default options, the formulas in
NumPy as they are printed.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from shadowdiffusion.benchmarks.baselines.setting import Array, Contestant, Restore, Setting, Unavailable
from shadowdiffusion.runtime.bundle.folder import DENOISER, PRIOR


def prepare(setting: Setting) -> Restore:
    """Raises Unavailable where ONNX Runtime has no CUDA for a race on a GPU."""
    setting.require_released_sampling()
    sessions = {name: _session(setting, str(setting.subject.plain / name)) for name in (DENOISER, PRIOR)}
    limits = setting.subject.bundle.manifest.model.illumination

    def restore() -> Array:
        y, mask, x = setting.images, setting.masks, setting.noise
        clean, _ = sessions[PRIOR].run(None, {"image": y, "mask": mask})
        h = np.clip((y + limits.epsilon) / (clean + limits.epsilon), limits.floor, limits.ceiling)
        for step in setting.table:
            feed = {"image": 2 * y - 1, "mask": mask, "x_t": x, "t": np.full(len(y), step.t, np.float32)}
            predicted, _ = sessions[DENOISER].run(None, feed)
            z = (x - sqrt(1 - step.alpha_bar) * predicted) / sqrt(step.alpha_bar)
            consistent = 2 * (h * y + step.rho * (z + 1) / 2) / (h**2 + step.rho) - 1
            x = sqrt(step.alpha_bar_next) * consistent + sqrt(1 - step.alpha_bar_next) * predicted
        result: Array = np.clip((x + 1) / 2, 0, 1)
        return result

    return restore


def _session(setting: Setting, path: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setting.threads
    options.log_severity_level = 4
    wanted = "CUDAExecutionProvider" if setting.device.type == "cuda" else "CPUExecutionProvider"
    if wanted not in onnxruntime.get_available_providers():
        raise Unavailable("this ONNX Runtime has no CUDA: make gpu installs one that has")
    if setting.device.type == "cuda":
        onnxruntime.preload_dlls()
    session = onnxruntime.InferenceSession(path, options, providers=[wanted])
    if wanted not in session.get_providers():
        raise Unavailable("ONNX Runtime could not start CUDA: check the driver")
    return session


PLAIN_ONNX = Contestant("plain-onnx", "plain ONNX Runtime on the plain export, formulas in NumPy", prepare)
