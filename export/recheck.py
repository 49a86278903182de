"""Verify a finished bundle: its golden example, the portable ONNX against PyTorch, every engine against the ONNX."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shadowdiffusion.export.commands.console import Bar, Report
from shadowdiffusion.export.engines.lock import writing
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.illumination import form_of
from shadowdiffusion.export.verify import ONNX, OnBackend, Violation, compare, golden_difference, verification
from shadowdiffusion.runtime.bundle.engines import StoredEngine, engine_damage, stored_engines
from shadowdiffusion.runtime.bundle.folder import Bundle, Sampling, Verification, write_manifest
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.errors import BundleError, RestoreError
from shadowdiffusion.runtime.selection.engine_networks import open_engine
from shadowdiffusion.runtime.selection.fit import this_machine
from shadowdiffusion.runtime.selection.golden_check import verdict_of
from shadowdiffusion.runtime.selection.profile import batch_sizes, image_sizes
from shadowdiffusion.runtime.selection.selection import misfit

if TYPE_CHECKING:
    from shadowdiffusion.export.photos import Sample
    from shadowdiffusion.training.checkpoint import Model
    from shadowdiffusion.training.sampler import SamplerOptions


@dataclass
class Outcome:
    """verification: what was measured, as the manifest has it. not_run: why an engine was not. violations: past a
    tolerance, or broken.
    """

    verification: dict[str, Verification] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    violations: dict[str, Violation] = field(default_factory=dict)

    def worst(self) -> str | None:
        """The worst violation in words."""
        if not self.violations:
            return None
        name = max(self.violations, key=lambda name: self.violations[name].missing)
        return f"{name}: {self.violations[name].text}"


def recheck(path: Path, checkpoints: Sequence[Path], photos: Sequence[Path], report: Report, bar: Bar) -> Outcome:
    """Measure everything of a bundle (folder or zip file) that can be measured on this machine.

    The networks are compared with PyTorch if `checkpoints` are given. Raises BundleError for a damaged bundle,
    ExportError or TrainingError for checkpoints and photos that do not fit; an engine that fails is a violation.
    """
    import torch

    from shadowdiffusion.export.photos import verification_samples
    from shadowdiffusion.export.verify import InPyTorch
    from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks

    bundle, outcome = load_bundle(path), Outcome()
    model, options = _original(bundle, checkpoints, report) if checkpoints else (None, None)
    portable = OnBackend(bundle, OnnxRuntimeNetworks(bundle, "cpu", torch.get_num_threads()))
    report("running the golden example")
    differences = {"golden": golden_difference(bundle, portable.networks)}
    names = list[str]()
    if model is not None and options is not None:
        samples = verification_samples(photos, bundle.manifest.model.multiple)
        names = [sample.name for sample in samples]
        report(f"comparing the networks and the loop of {options.steps} steps with PyTorch on {', '.join(names)}")
        with bar("ONNX") as progress:
            found = compare(portable, InPyTorch(model, options), bundle, samples, progress=progress)
        differences = found | differences
    measured, violation = verification("PyTorch" if checkpoints else "golden", names, differences)
    outcome.verification[ONNX] = measured if checkpoints else _kept(bundle, measured)
    if violation:
        outcome.violations[ONNX] = violation
    for name, engine in stored_engines(bundle).items():
        _check_engine(portable, name, engine, photos, outcome, report, bar)
    return outcome


def why_not_writable(path: Path) -> str | None:
    """Why nothing can be stored in a bundle, which is as good as any other all the same; None if it can."""
    if path.is_file():
        return "a packed bundle is never changed"
    return None if os.access(path, os.W_OK) else f"{path} cannot be written"


def store(path: Path, outcome: Outcome) -> None:
    """Enter what was measured in the manifest of the bundle folder, and drop what engines left that are gone.

    Raises ExportError if it cannot be written.
    """
    with writing(path):
        bundle = load_bundle(path)
        known = {ONNX, *stored_engines(bundle)}
        old = {name: found for name, found in bundle.manifest.verification.items() if name in known}
        manifest = msgspec.structs.replace(bundle.manifest, verification=old | outcome.verification)
        write_manifest(path, manifest)


def _kept(bundle: Bundle, golden: Verification) -> Verification:
    """The golden example's result within an earlier comparison with PyTorch, which stays true: files are hashed."""
    old = bundle.manifest.verification.get(ONNX)
    if old is None:
        return golden
    differences = old.differences | golden.differences
    return msgspec.structs.replace(old, differences=differences, passed=old.passed and golden.passed)


def _check_engine(
    portable: OnBackend,
    name: str,
    engine: StoredEngine,
    photos: Sequence[Path],
    outcome: Outcome,
    report: Report,
    bar: Bar,
) -> None:
    bundle, record, machine = portable.bundle, engine.record, this_machine()
    if problem := engine_damage(engine):
        outcome.violations[name] = Violation(math.inf, f"{problem}: shadowdiffusion export prune drops damaged engines")
        return
    if why := misfit(record.key, bundle, machine):
        outcome.not_run[name] = why
        report(f"{name} is not run here: {why}")
        return
    try:  # in another process: an engine may crash
        device = machine.device(record.key) or ""
        verdict = verdict_of(bundle, engine, device, None)
        if verdict.psnr is None:
            raise BundleError(verdict.failure or "")
        networks = open_engine(bundle, engine, None)
    except RestoreError as error:
        outcome.violations[name] = Violation(math.inf, str(error))
        return
    samples, pair = engine_samples(bundle, engine, photos)
    names = [sample.name for sample in samples]
    report(f"comparing {name} with the portable ONNX on {', '.join(names)}")
    try:
        with bar(name) as progress:
            found = compare(OnBackend(bundle, networks), portable, bundle, samples, pair, progress)
    except (ExportError, RestoreError) as error:
        outcome.violations[name] = Violation(math.inf, str(error))
        return
    gate = record.gate.least if record.gate else None
    outcome.verification[name], violation = verification("portable ONNX", names, found, record.key.precision, gate)
    if violation:
        outcome.violations[name] = violation


def engine_samples(bundle: Bundle, engine: StoredEngine, photos: Sequence[Path]) -> tuple[list[Sample], bool]:
    """Samples of sizes and batch that the engine's profile has, and whether two of them fit in one batch."""
    import numpy as np

    from shadowdiffusion.export.photos import Sample, verification_samples

    smallest, _, largest = image_sizes(engine.record.key)
    fewest, _, most = batch_sizes(engine.record.key)
    samples = verification_samples(photos, bundle.manifest.model.multiple, smallest=smallest, largest=largest)
    batches = [Sample(s.name, np.repeat(s.image, fewest, 0), np.repeat(s.mask, fewest, 0)) for s in samples]
    return batches, most >= 2 * fewest


def _original(bundle: Bundle, checkpoints: Sequence[Path], report: Report) -> tuple[Model, SamplerOptions]:
    """The PyTorch networks of the bundle, with its weights rounded as in the bundle, and its sampler's options."""
    from shadowdiffusion.export.passes.catalog import HALF_WEIGHTS
    from shadowdiffusion.export.passes.half_weights import rounded_model
    from shadowdiffusion.training.checkpoint import load_checkpoints
    from shadowdiffusion.training.sampler import SamplerOptions, step_table

    report("reading " + ", ".join(map(str, checkpoints)))
    original = load_checkpoints(checkpoints)
    if original.denoiser is None:
        raise ExportError("the checkpoints hold no denoiser: name the one that the bundle was exported from")
    if (original.prior is not None) != bundle.has_prior:
        who = "the bundle has a prior, the checkpoints have" if bundle.has_prior else "the checkpoints have one, it has"
        raise ExportError(f"{who} none: name the checkpoints that the bundle was exported from")
    sampling = bundle.manifest.sampling
    table = sampling.tables[str(sampling.default_steps)]
    options = SamplerOptions(
        steps=sampling.default_steps,
        eta=sampling.eta,
        rho=table[0].rho,
        rho_schedule=sampling.rho_schedule,
        rho_gamma=sampling.rho_gamma,
        mask_policy=sampling.mask_policy,
        data_consistency=sampling.data_consistency,
        clamp=sampling.clamp,
        start=sampling.start,
    )
    _check_tables(sampling, [step.alpha_bar for step in step_table(options, original.diffusion)])
    half = any(note.name == HALF_WEIGHTS.name for note in bundle.manifest.notes)
    original = dataclasses.replace(original, illumination=form_of(bundle.manifest.model.illumination))
    return (rounded_model(original) if half else original), options


def _check_tables(sampling: Sampling, levels: list[float]) -> None:
    """Raise ExportError if the checkpoints were trained with another noise schedule."""
    table = sampling.tables[str(sampling.default_steps)]
    same = len(levels) == len(table) and all(
        math.isclose(level, step.alpha_bar, rel_tol=1e-9) for level, step in zip(levels, table, strict=True)
    )
    if not same:
        raise ExportError("the checkpoints have another noise schedule than the bundle: it was not exported from them")
