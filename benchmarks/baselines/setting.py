"""What every contestant is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from shadowdiffusion.benchmarks.models.subject import Subject
from shadowdiffusion.runtime.bundle.folder import Step
from shadowdiffusion.runtime.loop.noise import gaussian
from shadowdiffusion.training.degradation import DegradationPrior
from shadowdiffusion.training.denoiser import Denoiser

Array = npt.NDArray[np.float32]
Restore = Callable[[], Array]
"""Restores the images of the setting once, from host memory to host memory: float32 [N, 3, H, W] in [0, 1]."""


class Unavailable(Exception):
    """Why a contestant cannot race here, in one line."""


@dataclass(frozen=True)
class Setting:
    """One race: the networks, working images float32 [N, 3, H, W] in [0, 1] with their masks [N, 1, H, W] and seeds.

    table: the steps. threads: of the CPU, for everybody. noise: the start state [N, 3, H, W] that the seeds give; it is
    a gift to the baselines, ours draw it in their time. compiling: options of torch.compile, compile_mode their name.
    """

    subject: Subject
    images: Array
    masks: Array
    seeds: Sequence[int]
    table: Sequence[Step]
    device: torch.device
    threads: int
    compile_mode: str
    compiling: Mapping[str, Any]
    noise: Array = field(init=False)

    def __post_init__(self) -> None:
        height, width = self.images.shape[2:]
        drawn = np.stack([gaussian(height, width, seed=seed, step=0) for seed in self.seeds])
        object.__setattr__(self, "noise", drawn)

    @property
    def steps(self) -> int:
        """How many the table has."""
        return len(self.table)

    def networks(self) -> tuple[Denoiser, DegradationPrior]:
        """Copies of both networks on the device, float32."""
        model = self.subject.model
        assert model.denoiser is not None
        assert model.prior is not None
        return deepcopy(model.denoiser).to(self.device), deepcopy(model.prior).to(self.device)

    def require_released_sampling(self) -> None:
        """Raise Unavailable unless the bundle samples as the released code does, which is all that baselines know."""
        sampling = self.subject.bundle.manifest.sampling
        if sampling.mask_policy != "input" or sampling.start is not None or sampling.clamp or sampling.eta:
            raise Unavailable("the bundle samples with options that the released code does not have")
        if not sampling.data_consistency:
            raise Unavailable("the bundle samples without data consistency")


@dataclass(frozen=True)
class Contestant:
    """Somebody who races. name: as the record has it. title: what it is, for people.

    parent: the contestant to which this one adds exactly what its title says; None for those that stand alone. exact:
    equal to the reference up to the rounding of float32. ours: part of this project. prepare: everything that is done
    only once; raises Unavailable.
    """

    name: str
    title: str
    prepare: Callable[[Setting], Restore]
    parent: str | None = None
    exact: bool = True
    ours: bool = False
