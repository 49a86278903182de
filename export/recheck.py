"""Verify a finished bundle again: every file, the golden example, and, given checkpoints, PyTorch itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from export.engines.lock import writing
from export.errors import ExportError
from runtime.bundle import Bundle, Sampling, load_bundle, write_manifest
from runtime.engines import engine_damage, stored_engines


def recheck(path: Path, checkpoints: Sequence[Path], report: Callable[[str], None]) -> dict[str, float]:
    """Measured accuracy in dB, as the manifest has it; raises BundleError or ExportError past a tolerance.

    Files and golden example are checked, and with `checkpoints` every network and the sampling loop are compared
    with PyTorch, as the exporter does. Engines are checked for damage only: they are not run.
    """
    import torch

    from export.verify import MOST_DB
    from runtime.onnxruntime_networks import OnnxRuntimeNetworks
    from runtime.restorer import Restorer

    bundle = load_bundle(path)
    for engine in stored_engines(bundle).values():
        if problem := engine_damage(engine):
            raise ExportError(f"engine {engine.path}: {problem}: python -m export prune drops damaged engines")
    report("running the golden example")
    golden = Restorer(bundle, OnnxRuntimeNetworks(bundle, "cpu", torch.get_num_threads())).check()
    found = {"golden_psnr": round(min(golden, MOST_DB), 2)}
    return found | (_compare(bundle, checkpoints, report) if checkpoints else {})


def store(path: Path, accuracy: dict[str, float]) -> None:
    """Enter the measured values in the manifest of the bundle folder. Raises ExportError if it cannot be written."""
    with writing(path):
        manifest = load_bundle(path).manifest
        write_manifest(path, msgspec.structs.replace(manifest, accuracy=manifest.accuracy | accuracy))


def _compare(bundle: Bundle, checkpoints: Sequence[Path], report: Callable[[str], None]) -> dict[str, float]:
    from export import verify
    from export.passes.catalog import HALF_WEIGHTS
    from export.passes.half_weights import rounded_model
    from export.photos import verification_samples
    from training.checkpoint import load_checkpoints
    from training.sampler import SamplerOptions, step_table

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
    model = rounded_model(original) if half else original
    samples = verification_samples((), bundle.manifest.model.multiple)
    report(f"comparing the networks with PyTorch on {', '.join(sample.name for sample in samples)}")
    found = verify.compare_graphs(model, bundle, samples)
    report(f"comparing the sampling loop ({options.steps} steps) with the reference sampler")
    return found | verify.compare_loops(model, bundle, options, samples)


def _check_tables(sampling: Sampling, levels: list[float]) -> None:
    """Raise ExportError if the checkpoints were trained with another noise schedule."""
    table = sampling.tables[str(sampling.default_steps)]
    same = len(levels) == len(table) and all(
        math.isclose(level, step.alpha_bar, rel_tol=1e-9) for level, step in zip(levels, table, strict=True)
    )
    if not same:
        raise ExportError("the checkpoints have another noise schedule than the bundle: it was not exported from them")
