"""Everybody who races, in the order in which reports show them."""

from __future__ import annotations

from collections.abc import Sequence

from shadowdiffusion.benchmarks.baselines.authors import AUTHORS
from shadowdiffusion.benchmarks.baselines.compiled import COMPILED
from shadowdiffusion.benchmarks.baselines.diffusers_ddim import DIFFUSERS
from shadowdiffusion.benchmarks.baselines.eager import EAGER
from shadowdiffusion.benchmarks.baselines.plain_onnx import PLAIN_ONNX
from shadowdiffusion.benchmarks.baselines.setting import Contestant
from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.latency.ablation import Engines, ablation

BASELINES = (AUTHORS, EAGER, COMPILED, DIFFUSERS, PLAIN_ONNX)
FEW = ("authors", "eager", "plain-onnx", "bundle", "engine")
"""Names, or what they begin with, of those who race at step counts after the first: the ablation is the same there."""


def contestants(engines: Engines, names: Sequence[str]) -> list[Contestant]:
    """Those of some names, () = all. Raises BenchmarkError for an unknown name."""
    everybody = [*BASELINES, *ablation(engines)]
    known = [contestant.name for contestant in everybody]
    if unknown := [name for name in names if name not in known]:
        raise BenchmarkError(f"contestant {unknown[0]!r} is unknown: choose from {', '.join(known)}")
    return [contestant for contestant in everybody if not names or contestant.name in names]


def few(everybody: Sequence[Contestant]) -> list[Contestant]:
    """Those for step counts after the first."""
    return [contestant for contestant in everybody if contestant.name.startswith(FEW)]
