"""The sampling section of a manifest: every table the runtime may need, computed once in float64."""

from __future__ import annotations

import dataclasses

import msgspec

from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.runtime.bundle.folder import Sampling, Step
from shadowdiffusion.training.degradation import IlluminationForm
from shadowdiffusion.training.prior_update import rho_schedule
from shadowdiffusion.training.sampler import SamplerOptions, step_table
from shadowdiffusion.training.schedule import DiffusionConfig

STEP_COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25)
"""Step counts a bundle offers, besides its default; those that do not fit the schedule are left out."""


def sampling_section(options: SamplerOptions, diffusion: DiffusionConfig) -> Sampling:
    """Options -> tables for every step count. Raises TrainingError if the default count does not fit."""
    default = step_table(options, diffusion)
    room = diffusion.timesteps if options.start is None else options.start
    counts = sorted({options.steps, *(count for count in STEP_COUNTS if count <= room)})
    tables = {}
    for count in counts:
        steps = step_table(dataclasses.replace(options, steps=count), diffusion)
        tables[str(count)] = [Step(**step._asdict()) for step in steps]
    return Sampling(
        default_steps=options.steps,
        eta=options.eta,
        rho_schedule=options.rho_schedule,
        rho_gamma=options.rho_gamma,
        mask_policy=options.mask_policy,
        data_consistency=options.data_consistency,
        clamp=options.clamp,
        start=options.start,
        T=diffusion.timesteps,
        start_alpha_bar=None if options.start is None else default[0].alpha_bar,
        tables=tables,
    )


def timesteps(sampling: Sampling) -> list[int]:
    """Every timestep of the tables, ascending: the rows of the time table, in order."""
    return sorted({step.t for table in sampling.tables.values() for step in table})


def with_rows(sampling: Sampling) -> Sampling:
    """A copy whose steps say which row of the time table is theirs."""
    rows = {t: row for row, t in enumerate(timesteps(sampling))}
    tables = {
        count: [msgspec.structs.replace(step, row=rows[step.t]) for step in table]
        for count, table in sampling.tables.items()
    }
    return msgspec.structs.replace(sampling, tables=tables)


def check_options(options: SamplerOptions, has_prior: bool, form: IlluminationForm) -> None:
    """Raise ExportError for options that need a degradation prior when there is none, or bounds that h has not."""
    if form.floor == 0 and min(rho_schedule(options.rho, options.rho_schedule, options.rho_gamma, options.steps)) == 0:
        raise ExportError("a degradation form without a floor needs rho above 0 at every step: black pixels divide 0/0")
    if has_prior:
        return
    wanted = []
    if options.data_consistency:
        wanted.append("data consistency")
    if options.start is not None:
        wanted.append(f"starting at timestep {options.start}")
    if options.mask_policy == "closed-form":
        wanted.append("the closed-form mask policy")
    if wanted:
        what = " and ".join(wanted)
        raise ExportError(f"{what} cannot work without a prior: give a checkpoint that holds one, or leave it out")
