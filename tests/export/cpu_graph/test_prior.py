"""Plans of priors, run by the CPU kernels and compared with ONNX Runtime on their graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from shadowdiffusion.export import graph
from shadowdiffusion.export.cpu_graph.network import Convolution, Degradation, GatedDepthwise, Light, Pointwise
from shadowdiffusion.export.cpu_graph.plan import encode_plan
from shadowdiffusion.export.cpu_graph.prior import read_prior
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.precision.mixed import single_graph
from shadowdiffusion.runtime.backends.cpu_library import Network
from shadowdiffusion.runtime.bundle.folder import PRIOR, Task
from shadowdiffusion.runtime.bundle.opening import built_in
from shadowdiffusion.training.degradation import UNKNOWN_MASK, DegradationConfig, DegradationPrior
from tests import cpu_kernels
from tests.export.conftest import changed, randomise, run
from tests.runtime.tiny import picture

SIZES = ((16, 16), (32, 80), (96, 48), (112, 144))
CONFIGS = {
    "veiled": DegradationConfig(32, (1, 2, 1), 1, (1, 1, 1), min_log_weight=-3, veiled=True),
    "calibrated": DegradationConfig(32, (1, 1, 1), 2, (1, 1, 1), calibrated=True),
}


def photo(height: int, width: int, masked: bool) -> dict[str, Any]:
    """A photo with its right half in the shade."""
    image = picture(height, width).astype(np.float32).transpose(2, 0, 1)[None] / 255
    shade = np.arange(width) > width / 2
    image[..., shade] *= np.array([0.4, 0.45, 0.55], np.float32)[:, None, None]
    mask = np.full((1, 1, height, width), UNKNOWN_MASK, np.float32)
    if masked:
        mask[:] = shade
    return {"image": image, "mask": mask}


def check(model: ModelProto, path: Path) -> None:
    path.write_bytes(encode_plan(read_prior(model)))
    plans = [Network(path, threads) for threads in (1, 3)]
    for height, width in SIZES:
        for masked in (False, True):
            feed = photo(height, width, masked)
            expected = run(model, feed)
            clean, matte = plans[0].run_batch(feed, ["clean", "matte"])
            assert clean.shape == expected["clean"].shape
            np.testing.assert_allclose(clean, expected["clean"], atol=2e-5)
            np.testing.assert_allclose(matte, expected["matte"], atol=2e-3)
            assert np.array_equal(clean, plans[1].run_batch(feed, ["clean"])[0]), "threads change the result"
            assert np.array_equal(matte, plans[1].run_batch(feed, ["matte"])[0]), "one output changes without the other"


@pytest.mark.slow  # tracing; the built-in priors have the same parts
@pytest.mark.parametrize("name", CONFIGS)
def test_a_plan_computes_what_its_graph_does(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_kernels.use(monkeypatch)
    prior = DegradationPrior(CONFIGS[name])
    randomise(prior, 5)
    check(graph.export_prior(prior), tmp_path / "plan")


@pytest.mark.parametrize("task", ["shadow", "low-light", "exposure"])
def test_the_built_in_priors(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_kernels.use(monkeypatch)
    model = single_graph(onnx.load_model(built_in(task) / PRIOR))
    steps = read_prior(model).steps
    assert sum(isinstance(step, GatedDepthwise) for step in steps) == 17  # one for each block
    assert sum(isinstance(step, Pointwise) for step in steps) == 17
    assert sum(isinstance(step, Convolution) and step.patch == 2 for step in steps) == 3
    assert isinstance(steps[0], Light)
    assert isinstance(steps[-1], Degradation)
    assert (steps[-1].trust is None) == (steps[-1].veil is None) == (task != "shadow")
    check(model, tmp_path / "plan")


def test_other_graphs_are_refused(graphs: dict[str, ModelProto]) -> None:
    with pytest.raises(ExportError, match="it is no degradation prior that they know"):
        read_prior(graphs["denoiser"])
    with pytest.raises(ExportError, match="multiples of 16 channels, not 8"):
        encode_plan(read_prior(graphs["prior"]))
    network = read_prior(single_graph(onnx.load_model(built_in("exposure") / PRIOR)))
    step = next(step for step in network.steps if isinstance(step, Convolution) and step.patch == 2)
    step.to.channels = 16
    with pytest.raises(ExportError, match="patches of multiples of 32 channels"):
        encode_plan(network)


def test_a_changed_graph_is_not_taken_for_a_prior() -> None:
    whole = single_graph(onnx.load_model(built_in("exposure") / PRIOR))
    changes: dict[str, tuple[str, Any]] = {
        "LayerNormalization": ("axis", 1),
        "Split": ("axis", 2),
        "ReduceMean": ("keepdims", 0),
        "Conv": ("dilations", [2, 2]),
        "DepthToSpace": ("mode", b"DCR"),
    }
    for kind, (name, value) in changes.items():
        with pytest.raises(ExportError, match="unknown way"):
            read_prior(changed(whole, kind, name, value))
