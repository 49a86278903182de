"""The networks of a bundle back in PyTorch, so that everybody races with the same weights and no checkpoint is needed.

Every weight is in the graphs under its name, but for three kinds: the scales of the group normalisations, which are
found by their order; the range of the prior's illumination, two constants behind its weight head; and the time
embedding, of which the bundle keeps what it gives at its timesteps, a table of the rank of the embedding. For that,
the hidden layer is drawn at random, and the layers after it are solved for: at every timestep of the bundle's tables
the recovered network computes what the trained one did.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.export.illumination import form_of
from shadowdiffusion.export.passes.group_norm import norms
from shadowdiffusion.export.precision.mixed import single_graph
from shadowdiffusion.export.schedule import timesteps
from shadowdiffusion.export.verify import psnr, reference_loop
from shadowdiffusion.runtime.bundle.folder import DENOISER, MASK_HEAD, PRIOR, Bundle, Sampling
from shadowdiffusion.runtime.bundle.golden_example import read_golden
from shadowdiffusion.runtime.bundle.time_table import read_rows
from shadowdiffusion.training.checkpoint import Model
from shadowdiffusion.training.degradation import DegradationPrior
from shadowdiffusion.training.denoiser import SIZES, Denoiser, ResidualBlock, TimeEmbedding
from shadowdiffusion.training.objective import PRIOR_SIZES
from shadowdiffusion.training.sampler import SamplerOptions

if TYPE_CHECKING:
    from onnx import ModelProto

Array = npt.NDArray[np.float32]

NEEDED_DB = 60.0
"""PSNR that the recovered networks must reach against the bundle's golden output."""


def recovered(bundle: Bundle) -> Model:
    """The networks of a bundle. Raises BenchmarkError for one of another architecture than the sizes we know."""
    size = bundle.manifest.model.denoiser_size
    if size not in SIZES or not bundle.has_prior:
        what = f"a denoiser of size {size!r}" if size not in SIZES else "no prior"
        raise BenchmarkError(f"bundle {bundle.path} has {what}: only {', '.join(SIZES)} with a prior can be measured")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        denoiser = Denoiser(SIZES[size])
    form = form_of(bundle.manifest.model.illumination)
    model = Model(_denoiser(denoiser, bundle), _prior(bundle), task=bundle.manifest.task, illumination=form)
    golden = read_golden(bundle)
    options = replace(sampler_options(bundle.manifest.sampling), steps=golden.steps)
    found = psnr(np.clip(reference_loop(model, options, golden.image, golden.mask, golden.seed), 0, 1), golden.x)
    if not found >= NEEDED_DB:
        raise BenchmarkError(
            f"the networks of bundle {bundle.path}, taken back to PyTorch, reproduce its golden output to {found:.1f} "
            f"dB only, {NEEDED_DB:g} dB are needed"
        )
    return model


def sampler_options(sampling: Sampling) -> SamplerOptions:
    """The options of the reference sampler that a bundle was exported with."""
    first = sampling.tables[str(sampling.default_steps)][0]
    return SamplerOptions(
        steps=sampling.default_steps,
        eta=sampling.eta,
        rho=first.rho,
        rho_schedule=sampling.rho_schedule,
        rho_gamma=sampling.rho_gamma,
        mask_policy=sampling.mask_policy,
        data_consistency=sampling.data_consistency,
        clamp=sampling.clamp,
        start=sampling.start,
    )


def _denoiser(denoiser: Denoiser, bundle: Bundle) -> Denoiser:
    graph = _graph(bundle, DENOISER)
    weights = _weights(graph)
    if MASK_HEAD in bundle.manifest.files:
        weights |= _weights(_graph(bundle, MASK_HEAD))
    modules = [(name, module) for name, module in denoiser.named_modules() if isinstance(module, nn.GroupNorm)]
    for (name, _), norm in zip(modules, norms(graph), strict=True):
        weights |= {f"{name}.weight": norm.gamma, f"{name}.bias": norm.beta}
    rows = read_rows(bundle)
    if rows is not None:
        weights |= _time_weights(denoiser, rows, timesteps(bundle.manifest.sampling))
    return _filled(denoiser, weights, bundle)


def _time_weights(denoiser: Denoiser, rows: Array, times: list[int]) -> dict[str, Array]:
    """Weights of the time embedding and its projections that give these rows at these timesteps."""
    blocks = {name: module for name, module in denoiser.named_modules() if isinstance(module, ResidualBlock)}
    embedding = denoiser.embedding
    base = 2 * embedding.frequencies
    bias = rows.mean(axis=0, dtype=np.float64)
    left, strength, right = np.linalg.svd(rows.astype(np.float64) - bias, full_matrices=False)
    scale = np.sqrt(len(rows))
    codes, weight = left[:, :base] * scale, (strength[:base, None] * right[:base] / scale).T
    hidden = _hidden(embedding, times)
    out = np.linalg.lstsq(hidden, codes, rcond=None)[0].T
    found = {f"embedding.hidden.{key}": value.numpy() for key, value in embedding.hidden.state_dict().items()}
    found |= {"embedding.out.weight": out, "embedding.out.bias": np.zeros(base)}
    start = 0
    for name, block in blocks.items():
        part = slice(start, start := start + block.time.out_features)
        found |= {f"{name}.time.weight": weight[part], f"{name}.time.bias": bias[part]}
    return found


@torch.no_grad()
def _hidden(embedding: TimeEmbedding, times: list[int]) -> npt.NDArray[np.float64]:
    """What the layer behind the hidden one reads at these timesteps, float64 [R, 4 base]."""
    seen: list[Tensor] = []
    handle = embedding.out.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    embedding.double()
    embedding(torch.tensor(times, dtype=torch.float64))
    embedding.float()
    handle.remove()
    return seen[0].numpy()


def _prior(bundle: Bundle) -> DegradationPrior:
    graph = _graph(bundle, PRIOR)
    weights = _weights(graph)
    least, most = _range(graph)
    for config in PRIOR_SIZES.values():
        with torch.random.fork_rng(devices=[]):
            veiled, calibrated = "veil_head.weight" in weights, "trust" in weights
            size = replace(config, min_log_weight=least, max_log_weight=most, veiled=veiled, calibrated=calibrated)
            prior = DegradationPrior(size)
        if all(weights.get(name, np.empty(0)).shape == tuple(own.shape) for name, own in prior.state_dict().items()):
            return _filled(prior, weights, bundle)
    raise BenchmarkError(f"the prior of bundle {bundle.path} is of none of the sizes {', '.join(PRIOR_SIZES)}")


def _range(graph: ModelProto) -> tuple[float, float]:
    """min_log_weight and max_log_weight: least + span * sigmoid(weight head)."""
    constants, readers = _weights(graph), dict[str, Any]()
    for node in graph.graph.node:
        for name in node.input:
            readers.setdefault(name, node)
    (head,) = (node for node in graph.graph.node if "weight_head.weight" in node.input)
    value, factors = head, list[float]()
    for kind in ("Sigmoid", "Mul", "Add"):
        value = readers[value.output[0]]
        if value.op_type != kind:
            raise BenchmarkError(f"the weight head of the prior is followed by {value.op_type}, not {kind}")
        factors += [float(constants[name].reshape(())) for name in value.input if name in constants]
    span, least = factors
    return round(least, 6), round(least + span, 6)


def _graph(bundle: Bundle, name: str) -> ModelProto:
    return single_graph(onnx.load_model(bundle.path / name))


def _weights(graph: ModelProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}


def _filled(module: Any, weights: dict[str, Array], bundle: Bundle) -> Any:
    missing = [name for name in module.state_dict() if name not in weights]
    if missing:
        raise BenchmarkError(f"the graphs of bundle {bundle.path} lack {missing[0]}: export it again")
    state = {name: torch.tensor(weights[name], dtype=torch.float32) for name in module.state_dict()}
    module.load_state_dict(state)
    return module.eval()
