"""Tiny networks with random weights, and the bundle made of them, shared by all export tests."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import math
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from onnx import ModelProto, numpy_helper
from torch import nn

from shadowdiffusion.export import graph
from shadowdiffusion.export.bundle import BundleOptions, build_bundle
from shadowdiffusion.export.passes.catalog import PASSES
from shadowdiffusion.runtime.bundle.folder import Bundle, write_manifest
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.selection.tolerances import TOLERANCES, Decibels
from shadowdiffusion.training.checkpoint import Model
from shadowdiffusion.training.degradation import DegradationConfig, DegradationPrior
from shadowdiffusion.training.denoiser import Denoiser, DenoiserConfig
from shadowdiffusion.training.sampler import SamplerOptions

TINY_DENOISER = DenoiserConfig(base=16, multipliers=(1, 2), blocks=1, groups=4, patch=2)
ATTENTIVE = DenoiserConfig(base=16, multipliers=(1, 2, 3), blocks=1, groups=8, attention=(1, 2), patch=1)
TINY_PRIOR = DegradationConfig(width=8, encoder=(1,), middle=1, decoder=(1,), calibrated=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # one worker exports the bundle once, instead of every worker its own
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("export"))


def randomise(module: nn.Module, seed: int) -> None:
    """Draw every parameter, those that start as zero too: a zero branch would hide a wrong export."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                values /= max(1, parameter[0].numel()) ** 0.5
            elif "norm" in name and name.endswith("weight"):
                values = 1 + 0.1 * values
            else:
                values *= 0.1
            parameter.copy_(values)
    module.eval()


@pytest.fixture(scope="session")
def model() -> Model:
    denoiser, prior = Denoiser(TINY_DENOISER), DegradationPrior(TINY_PRIOR)
    randomise(denoiser, 1)
    randomise(prior, 2)
    return Model(denoiser, prior)


@pytest.fixture(scope="session")
def graphs(model: Model, request: pytest.FixtureRequest) -> dict[str, ModelProto]:
    """Both networks as traced, before any pass: copy them before changing them.

    Tracing takes half a minute: it is done once for every state of the code behind it.
    """
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    if cache is None:
        return traced(model)
    folder = cache.mkdir("traced") / state_of_tracing()
    if not folder.is_dir():
        draft = Path(tempfile.mkdtemp(dir=folder.parent))
        for name, model_proto in traced(model).items():
            onnx.save_model(model_proto, draft / f"{name}.onnx")
        with contextlib.suppress(OSError):  # another process was first
            draft.rename(folder)
    return {name: onnx.load_model(folder / f"{name}.onnx") for name in ("denoiser", "prior")}


def traced(model: Model) -> dict[str, ModelProto]:
    assert model.denoiser is not None
    assert model.prior is not None
    return {"denoiser": graph.export_denoiser(model.denoiser), "prior": graph.export_prior(model.prior)}


def state_of_tracing() -> str:
    """Stands for all that a traced graph depends on: the code of the networks, of the exporter, and of this file."""
    root = Path(__file__).parents[2]
    files = [*sorted((root / "training").rglob("*.py")), root / "export" / "graph.py", Path(__file__)]
    versions = (f"{name} {version(name)}" for name in ("torch", "onnx", "onnxscript"))
    parts = [file.read_bytes() for file in files] + [text.encode() for text in versions]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:32]


@pytest.fixture(scope="session")
def attentive() -> ModelProto:
    """A denoiser with attention at two levels beside the middle, without patches, as traced: copy it likewise."""
    denoiser = Denoiser(ATTENTIVE)
    randomise(denoiser, 3)
    return graph.export_denoiser(denoiser)


@pytest.fixture(scope="session")
def bundle(model: Model, graphs: dict[str, ModelProto], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The model exported for real; copy the folder before changing it."""
    return export(model, graphs, tmp_path_factory.mktemp("export") / "tiny", {})


@pytest.fixture(scope="session")
def plain(model: Model, graphs: dict[str, ModelProto], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same without any graph pass: its denoiser takes the timestep, so that any schedule can be tried on it."""
    passes = {item.name: False for item in PASSES if item.stage == "export"}
    return export(model, graphs, tmp_path_factory.mktemp("export") / "plain", passes)


@pytest.fixture(scope="session")
def quick(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The exported bundle with a single step by default, for those who run many loops."""
    path = Path(shutil.copytree(bundle.path, tmp_path_factory.mktemp("quick") / "tiny"))
    sampling = msgspec.structs.replace(bundle.manifest.sampling, default_steps=1)
    write_manifest(path, msgspec.structs.replace(bundle.manifest, sampling=sampling))
    return load_bundle(path)


@pytest.fixture
def only_photos_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of random weights in lower precision are held to the gate of the photos alone: at the usual tolerances
    for outputs, which are for trained ones, layers would be put back for minutes.
    """
    anything = -math.inf
    for precision in set(TOLERANCES) - {"fp32"}:
        least = Decibels(TOLERANCES[precision].image, anything, anything, anything, anything)
        monkeypatch.setitem(TOLERANCES, precision, least)


def export(model: Model, graphs: dict[str, ModelProto], path: Path, passes: dict[str, bool]) -> Bundle:
    with pytest.MonkeyPatch.context() as patch:
        reuse(patch, graphs)
        build_bundle(model, path, BundleOptions(SamplerOptions(), "tiny", working_size=96, passes=passes))
    return load_bundle(path)


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch, graphs: dict[str, ModelProto]) -> None:
    """Replaces the seconds-long tracing by its result; everything after it stays real."""
    reuse(monkeypatch, graphs)


def reuse(patch: pytest.MonkeyPatch, graphs: dict[str, ModelProto]) -> None:
    patch.setattr(graph, "export_denoiser", lambda module: with_weights(graphs["denoiser"], module))
    patch.setattr(graph, "export_prior", lambda module: with_weights(graphs["prior"], module))


def with_weights(traced: ModelProto, module: nn.Module) -> ModelProto:
    """A copy of the traced graph that has the weights of `module`, as tracing it again would give."""
    result, weights = copy.deepcopy(traced), module.state_dict()
    for tensor in result.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name].numpy(), tensor.name))
    return result


def changed(model: ModelProto, kind: str, name: str, value: Any) -> ModelProto:
    """A copy in which the first node of a kind has another value of an attribute."""
    result = copy.deepcopy(model)
    node = next(node for node in result.graph.node if node.op_type == kind)
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])
    return result


def run(model: ModelProto, feed: dict[str, Any]) -> dict[str, npt.NDArray[np.float32]]:
    """Every output of a checked graph, by ONNX Runtime."""
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def images(batch: int, height: int, width: int) -> dict[str, Any]:
    """What a denoiser sees but the time."""
    rng = np.random.default_rng(height)
    shapes = {"image": 3, "mask": 1, "x_t": 3}
    return {name: rng.random((batch, count, height, width), np.float32) for name, count in shapes.items()}


def output_names(steps: int, prior: bool = True) -> set[str]:
    """What a comparison calls the outputs of the networks."""
    denoiser = {f"denoiser.{kind} {step}" for kind in ("noise", "mask") for step in range(1, steps + 1)}
    return denoiser | ({"prior.clean", "prior.matte"} if prior else set())
