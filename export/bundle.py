"""Assemble a bundle beside its target, verify it, and only then give it its name."""

from __future__ import annotations

import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from shadowdiffusion.export.commands.console import Bar, Report, quiet_bar
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.illumination import section
from shadowdiffusion.export.passes.catalog import FOLD, HALF_WEIGHTS, MASK_HEAD, PASSES, TIME_TABLE, Pass

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

    from shadowdiffusion.runtime.bundle.folder import Manifest, ModelInfo, Note, Sampling, Versions
    from shadowdiffusion.training.checkpoint import Model
    from shadowdiffusion.training.degradation import IlluminationForm
    from shadowdiffusion.training.sampler import SamplerOptions

Task = Literal["shadow", "low-light", "exposure"]

GOLDEN_SEED = 1


@dataclass(frozen=True)
class BundleOptions:
    """What a bundle is to be, beyond its weights.

    sampling: defaults of the sampler. name: for people. task: None takes the checkpoint's. working_size:
    default long side in pixels. passes: {name: on} for passes of `export.passes.catalog` that are not to be
    as usual. photos: for the comparison with PyTorch, () takes the example. force: replace an existing bundle.
    illumination: form of h, None takes the checkpoint's.
    """

    sampling: SamplerOptions
    name: str
    task: Task | None = None
    working_size: int = 512
    passes: dict[str, bool] = field(default_factory=dict)
    photos: tuple[Path, ...] = ()
    force: bool = False
    illumination: IlluminationForm | None = None

    def runs(self, item: Pass) -> bool:
        """Whether a graph pass is to run."""
        return self.passes.get(item.name, item.default)


def build_bundle(
    model: Model, target: Path, options: BundleOptions, report: Report = lambda line: None, bar: Bar = quiet_bar
) -> Manifest:
    """Export `model` to the new folder `target`; `report` is called with a line before each part of the work.

    The folder appears complete and verified, or not at all. Raises ExportError or TrainingError.
    """
    check_target(target, options.force)
    from shadowdiffusion.export.schedule import check_options

    if model.denoiser is None:
        raise ExportError("the checkpoints hold no denoiser: name one that does, a prior alone is not enough")
    if options.illumination is not None:
        model = replace(model, illumination=options.illumination)
    check_options(options.sampling, model.prior is not None, model.illumination)
    with folder_beside(target) as folder:
        manifest = _fill(folder, model, options, report, bar)
        put_in_place(folder, target, options.force)
    return manifest


def check_target(target: Path, force: bool) -> None:
    """Raise ExportError unless a bundle may be written to `target`: with `force`, over another bundle
    only."""
    from shadowdiffusion.runtime.bundle.folder import MANIFEST

    if not target.absolute().parent.is_dir():
        raise ExportError(f"folder {target.parent} does not exist: create it first")
    if not os.path.lexists(target):
        return
    if not force:
        raise ExportError(f"{target} already exists: choose another name, or pass --force to replace a bundle")
    if target.is_symlink() or not (target / MANIFEST).is_file():
        raise ExportError(f"{target} is not a bundle (it has no {MANIFEST}), so --force will not delete it")


def _fill(folder: Path, model: Model, options: BundleOptions, report: Report, bar: Bar) -> Manifest:
    """Write networks, golden files and manifest into `folder`, comparing with PyTorch on the way."""
    import msgspec
    import torch

    from shadowdiffusion.export import description, verify
    from shadowdiffusion.export.passes.half_weights import rounded_model
    from shadowdiffusion.export.photos import verification_samples
    from shadowdiffusion.export.schedule import sampling_section
    from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks
    from shadowdiffusion.runtime.bundle import folder as contents

    shipped = rounded_model(model) if options.runs(HALF_WEIGHTS) else model
    sampling = sampling_section(options.sampling, model.diffusion)
    task = options.task or cast(Task, model.task)
    info = _model_info(model, task, options.working_size)
    samples = verification_samples(options.photos, info.multiple)
    versions = _versions()

    def describe(proto: ModelProto, name: str) -> None:
        description.describe(proto, name, task, info.multiple, versions)

    sampling = _write_networks(folder, shipped, sampling, options, describe, report, bar)
    manifest = contents.Manifest(
        format_version=contents.FORMAT_VERSION,
        name=options.name,
        task=task,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=info,
        sampling=sampling,
        files=contents.hash_files(folder),
        versions=versions,
    )

    draft, names = contents.Bundle(folder, manifest), [sample.name for sample in samples]
    networks = OnnxRuntimeNetworks(draft, "cpu", torch.get_num_threads())
    report(f"comparing the networks and the loop of {options.sampling.steps} steps with PyTorch on {', '.join(names)}")
    with bar("comparing") as progress:
        candidate, reference = verify.OnBackend(draft, networks), verify.InPyTorch(shipped, options.sampling)
        differences = verify.compare(candidate, reference, draft, samples, progress=progress)
    cost = None
    if options.runs(HALF_WEIGHTS):
        report("measuring what rounding the weights to half precision costs")
        with bar("rounding"):
            cost = verify.rounding_cost(shipped, model, options.sampling, samples)

    report("running the golden example")
    _write_golden(folder, shipped, options, info.multiple)
    written = contents.Bundle(folder, msgspec.structs.replace(manifest, files=contents.hash_files(folder)))
    differences["golden"] = verify.golden_difference(written, networks)
    measured, violation = verify.verification("PyTorch", names, differences)
    if violation:
        raise ExportError(f"the exported {violation.text}: nothing was written")
    contents.write_manifest(
        folder,
        msgspec.structs.replace(
            written.manifest, verification={verify.ONNX: measured}, notes=_notes(model, options, cost)
        ),
    )
    return contents.load_folder(folder).manifest


def _write_networks(
    folder: Path,
    model: Model,
    sampling: Sampling,
    options: BundleOptions,
    describe: Callable[[ModelProto, str], None],
    report: Report,
    bar: Bar,
) -> Sampling:
    """Export both networks through the graph passes; returns `sampling` with the rows of the time table, if any.

    describe: writes into a finished graph what the file of this name is.
    """
    import numpy as np
    import onnx

    from shadowdiffusion.export import graph
    from shadowdiffusion.export.passes import fold, half_weights, mask_head, time_table
    from shadowdiffusion.export.schedule import timesteps, with_rows
    from shadowdiffusion.runtime.bundle import folder as contents

    def write(name: str, proto: ModelProto) -> None:
        proto = fold.apply(proto) if options.runs(FOLD) else proto
        proto = half_weights.apply(proto) if options.runs(HALF_WEIGHTS) else proto
        describe(proto, name)
        onnx.checker.check_model(proto)
        onnx.save_model(proto, folder / name)

    assert model.denoiser is not None
    report(f"exporting the denoiser ({_parameters(model.denoiser) / 1e6:.1f} M parameters)")
    with bar("exporting the denoiser"):
        denoiser = graph.export_denoiser(model.denoiser)
    if options.runs(TIME_TABLE):
        denoiser, rows = time_table.apply(denoiser, timesteps(sampling))
        np.save(folder / contents.ROWS, rows, allow_pickle=False)
        sampling = with_rows(sampling)
    if options.runs(MASK_HEAD):
        denoiser, head = mask_head.split(denoiser)
        write(contents.MASK_HEAD, head)
    write(contents.DENOISER, denoiser)
    if model.prior is not None:
        report(f"exporting the prior ({_parameters(model.prior) / 1e6:.1f} M parameters)")
        with bar("exporting the prior"):
            write(contents.PRIOR, graph.export_prior(model.prior))
    return sampling


def _write_golden(folder: Path, model: Model, options: BundleOptions, multiple: int) -> None:
    """One small input and the reference sampler's answer to it."""
    import numpy as np

    from shadowdiffusion.export.photos import golden_sample
    from shadowdiffusion.export.verify import reference_loop
    from shadowdiffusion.runtime.bundle.folder import GOLDEN_EXPECTED, GOLDEN_INPUT

    golden = golden_sample(options.photos, multiple)
    x = reference_loop(model, options.sampling, golden.image, golden.mask, GOLDEN_SEED)
    (folder / GOLDEN_INPUT).parent.mkdir()
    np.savez_compressed(
        folder / GOLDEN_INPUT,
        image=golden.image,
        mask=golden.mask,
        seed=np.uint64(GOLDEN_SEED),
        steps=np.int64(options.sampling.steps),
    )
    np.savez_compressed(folder / GOLDEN_EXPECTED, x=np.clip(x, 0, 1))


def _model_info(model: Model, task: Task, working_size: int) -> ModelInfo:
    from shadowdiffusion.runtime.bundle.folder import ModelInfo
    from shadowdiffusion.training import degradation
    from shadowdiffusion.training.denoiser import SIZES

    assert model.denoiser is not None
    config, prior = model.denoiser.config, model.prior
    size = next((name for name, known in SIZES.items() if known == config), "custom")
    whole = task != "shadow"  # the degradation is everywhere, m = 1
    return ModelInfo(
        denoiser_size=size,
        denoiser_parameters=_parameters(model.denoiser),
        prior_parameters=None if prior is None else _parameters(prior),
        multiple=math.lcm(config.multiple, 1 if prior is None else prior.config.multiple),
        working_size=working_size,
        illumination=section(model.illumination),
        matte_threshold=0.0 if whole else degradation.MATTE_THRESHOLD,
        blind_mask=1.0 if whole else degradation.UNKNOWN_MASK,
    )


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _versions() -> Versions:
    import onnx
    import torch

    from shadowdiffusion.export.graph import OPSET
    from shadowdiffusion.runtime.bundle.folder import Versions

    try:
        own = version("shadowdiffusion")
    except PackageNotFoundError:
        own = "not installed"
    return Versions(torch=str(torch.__version__), onnx=onnx.__version__, shadowdiffusion=own, opset=OPSET)


def _notes(model: Model, options: BundleOptions, cost: float | None) -> list[Note]:
    """What was done to the graphs; `cost`: dB of the half-precision weights."""
    from shadowdiffusion.runtime.bundle.folder import Note

    notes = [
        Note(item.name, item.exactness, item.summary, cost if item is HALF_WEIGHTS else None)
        for item in PASSES
        if item.stage == "export" and options.runs(item)
    ]
    if model.prior is None:
        detail = "there is no degradation prior: data consistency is off and every photo needs a mask"
        notes.append(Note("no-prior", "exact", detail))
    return notes


@contextmanager
def folder_beside(target: Path) -> Iterator[Path]:
    """A temporary folder on the target's file system, gone at the end unless it was renamed."""
    parent = target.absolute().parent
    folder = parent / f".{secrets.token_hex(4)}.tmp"
    try:
        folder.mkdir()  # not by tempfile, whose folders are private
    except OSError as error:
        raise ExportError(f"cannot write into {parent}: {error.strerror}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(folder: Path, target: Path, force: bool) -> None:
    """Rename the finished folder; an old bundle steps aside first and returns if that fails."""
    check_target(target, force)
    old = folder.with_suffix(".old")
    try:
        if target.exists():
            os.rename(target, old)
        os.rename(folder, target)
    except BaseException:
        if old.exists() and not target.exists():
            os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)
