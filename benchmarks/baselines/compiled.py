"""torch.compile on the networks of the clean loop: max-autotune with CUDA graphs on a GPU, inductor on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from shadowdiffusion.benchmarks.baselines import eager
from shadowdiffusion.benchmarks.baselines.setting import Contestant, Restore, Setting, Unavailable


def prepare(setting: Setting) -> Restore:
    """Compiles both networks. Raises Unavailable where the compiler does not work."""
    denoise, clean = (torch.compile(network, dynamic=False, **setting.compiling) for network in eager.networks(setting))

    def kept(y: Tensor, mask: Tensor, x: Tensor, t: Tensor) -> Tensor:
        # a CUDA graph writes its next results over these
        return denoise(y, mask, x, t).clone() if setting.device.type == "cuda" else denoise(y, mask, x, t)

    def estimate(y: Tensor, mask: Tensor) -> Tensor:
        return clean(y, mask).clone() if setting.device.type == "cuda" else clean(y, mask)

    restore = eager.loop(setting, kept, estimate)
    try:
        restore()
    except Exception as error:  # inductor, Triton and C++ compilers fail in ways of their own
        raise Unavailable(f"torch.compile does not work here: {type(error).__name__}: {error}") from error
    return restore


COMPILED = Contestant("compile", "the clean PyTorch loop with both networks through torch.compile", prepare)
