"""A model to be measured, in every form that the contestants need: PyTorch, plain export, bundle.

What takes long to make is kept in the cache, under a digest of everything it is made from.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.measurement.machine import ROOT, sources
from shadowdiffusion.benchmarks.models.random_weights import paper_model, tiny_model
from shadowdiffusion.benchmarks.models.recover import recovered, sampler_options
from shadowdiffusion.runtime.bundle.engines import network_digests
from shadowdiffusion.runtime.bundle.folder import DENOISER, ENGINES, PRIOR, Bundle
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.cache import CHOOSE, cache_folder
from shadowdiffusion.training.checkpoint import Model
from shadowdiffusion.training.sampler import SamplerOptions

if TYPE_CHECKING:
    from onnx import ModelProto

Report = Callable[[str], None]

OF_BUNDLE, RANDOM = "those of the bundle", "random, seed 0"


class ModelFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which networks a record is about.

    name: of the bundle. size: of the denoiser, "small" or "paper". weights: OF_BUNDLE or RANDOM, with which times mean
    what they say and dB compare arithmetic, not photos. bundle: SHA-256 over the digests of its networks.
    """

    name: str
    size: str
    task: str
    weights: str
    denoiser_parameters: int
    prior_parameters: int | None
    bundle: str


@dataclass(frozen=True)
class Subject:
    """model: in PyTorch, float32, on the CPU. bundle: in a folder of its own, to which engines may be added.

    plain: where the networks lie as traced, before any graph pass.
    """

    model: Model
    bundle: Bundle
    plain: Path
    weights: str

    @property
    def options(self) -> SamplerOptions:
        """How the reference sampler samples as the bundle does."""
        return sampler_options(self.bundle.manifest.sampling)

    @property
    def facts(self) -> ModelFacts:
        """For the record."""
        manifest = self.bundle.manifest
        digest = hashlib.sha256(repr(sorted(network_digests(self.bundle).items())).encode()).hexdigest()
        info = manifest.model
        parameters = info.denoiser_parameters, info.prior_parameters
        return ModelFacts(manifest.name, info.denoiser_size, manifest.task, self.weights, *parameters, digest)

    def plain_graphs(self) -> dict[str, ModelProto]:
        """The networks as traced, by the names that they have in a bundle."""
        import onnx

        return {name: onnx.load_model(self.plain / name) for name in (DENOISER, PRIOR)}


def bundle_subject(path: str | os.PathLike[str] | None, report: Report) -> Subject:
    """The networks of a bundle (None: the built-in one). Raises BundleError and BenchmarkError."""
    original = load_bundle(path)
    model = recovered(original)

    def make(folder: Path) -> None:
        shutil.copytree(original.path, folder / "bundle", ignore=shutil.ignore_patterns(ENGINES))
        _write_plain(model, folder / "plain", report)

    folder = _kept(original.manifest.name, model, repr(sorted(original.manifest.files.items())), make)
    return Subject(model, load_bundle(folder / "bundle"), folder / "plain", OF_BUNDLE)


def paper_subject(report: Report) -> Subject:
    """The networks of the paper's size with random weights, exported with the options of the released code."""
    return _random_subject(paper_model(), "paper", 256, report)


def tiny_subject(report: Report) -> Subject:
    """Networks that try a program in no time."""
    return _random_subject(tiny_model(), "tiny", 32, report)


def _random_subject(model: Model, name: str, working_size: int, report: Report) -> Subject:
    from shadowdiffusion.export.bundle import BundleOptions, build_bundle

    def make(folder: Path) -> None:
        options = BundleOptions(SamplerOptions(), name, working_size=working_size)
        build_bundle(model, folder / "bundle", options, report)
        _write_plain(model, folder / "plain", report)

    folder = _kept(name, model, "", make)
    return Subject(model, load_bundle(folder / "bundle"), folder / "plain", RANDOM)


def _write_plain(model: Model, folder: Path, report: Report) -> None:
    import onnx

    from shadowdiffusion.export.graph import export_denoiser, export_prior

    assert model.denoiser is not None
    assert model.prior is not None
    report("exporting the networks without any graph pass")
    folder.mkdir()
    onnx.save_model(export_denoiser(model.denoiser), folder / DENOISER)
    onnx.save_model(export_prior(model.prior), folder / PRIOR)


def _kept(name: str, model: Model, source: str, make: Callable[[Path], None]) -> Path:
    """The folder of the cache that `make` has filled, now or before; of two that fill it at once, the first counts."""
    cache = cache_folder("benchmarks")
    if cache is None:
        raise BenchmarkError(f"there is no cache folder to keep the exported networks in: {CHOOSE}")
    folder = cache / f"{name}-{_digest(model, source)}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
        try:
            make(draft)
            try:
                draft.rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def _digest(model: Model, source: str) -> str:
    """Of the weights, and of the programs that export them."""
    digest = hashlib.sha256(f"{source} {version('torch')} {version('onnx')} {version('onnxscript')}".encode())
    digest.update(sources(ROOT, ("training", "export")).encode())
    for network in (model.denoiser, model.prior):
        assert network is not None
        for name, value in network.state_dict().items():
            digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()[:16]
