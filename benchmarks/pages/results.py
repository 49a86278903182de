"""Everything that is stored of one device, the newest of each kind, in an order that does not depend on the files'."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shadowdiffusion.benchmarks.kernels import record as kernels
from shadowdiffusion.benchmarks.latency import record as latency
from shadowdiffusion.benchmarks.latency import stage_record as stages
from shadowdiffusion.benchmarks.measurement.machine import Header
from shadowdiffusion.benchmarks.measurement.results import Record, read, results_file
from shadowdiffusion.benchmarks.memory import record as memory
from shadowdiffusion.benchmarks.models.subject import ModelFacts
from shadowdiffusion.benchmarks.scaling import record as scaling
from shadowdiffusion.benchmarks.startup import record as startup


@dataclass(frozen=True)
class Results:
    """One device, whose folder is `slug`."""

    slug: str
    races: list[latency.LatencyRecord]
    stages: list[stages.StageRecord]
    scaling: list[scaling.ScalingRecord]
    memory: list[memory.MemoryRecord]
    startup: list[startup.StartupRecord]
    kernels: list[kernels.KernelRecord]

    @property
    def headers(self) -> list[Header]:
        """Of every run that contributes, in order of time."""
        every: list[Any] = [*self.races, *self.stages, *self.scaling, *self.memory, *self.startup, *self.kernels]
        found = {(record.header.started, record.header.command): record.header for record in every}
        return [found[key] for key in sorted(found)]

    @property
    def models(self) -> list[ModelFacts]:
        """Of all records of whole restorations: by size, then by name."""
        every: list[Any] = [*self.races, *self.stages, *self.scaling, *self.memory, *self.startup]
        found = {(record.model.name, record.model.weights): record.model for record in every}
        return sorted(found.values(), key=lambda model: (model.denoiser_parameters, model.name, model.weights))

    def of(self, model: ModelFacts) -> Results:
        """What concerns one model."""

        def concerned(records: list[Any]) -> list[Any]:
            key = model.name, model.weights
            return [record for record in records if (record.model.name, record.model.weights) == key]

        return replace(
            self,
            races=concerned(self.races),
            stages=concerned(self.stages),
            scaling=concerned(self.scaling),
            memory=concerned(self.memory),
            startup=concerned(self.startup),
            kernels=[],
        )


def load(folder: Path, slug: str) -> Results:
    """The results of one device. Raises BenchmarkError for lines that are no records."""

    def every(kind: str, record: type[Record]) -> list[Record]:
        file = results_file(folder, slug, kind)
        return read(file, record) if file.is_file() else []

    def ordered(records: list[Any]) -> list[Any]:
        return sorted(records, key=lambda record: repr(record.key))

    races = latency.newest(every(latency.KIND, latency.LatencyRecord))
    return Results(
        slug,
        sorted(races, key=lambda r: (r.model.name, r.scope, r.size, r.batch, r.steps, r.device)),
        ordered(stages.newest(every(stages.KIND, stages.StageRecord))),
        ordered(scaling.newest(every(scaling.KIND, scaling.ScalingRecord))),
        ordered(memory.newest(every(memory.KIND, memory.MemoryRecord))),
        ordered(startup.newest(every(startup.KIND, startup.StartupRecord))),
        kernels.newest(every(kernels.KIND, kernels.KernelRecord)),
    )


def slugs(folder: Path) -> list[str]:
    """Devices with any results of these kinds, in order of their names."""
    kinds = (latency.KIND, stages.KIND, scaling.KIND, memory.KIND, startup.KIND, kernels.KIND)
    return sorted({file.parent.name for kind in kinds for file in (folder / "results").glob(f"*/{kind}.jsonl")})
