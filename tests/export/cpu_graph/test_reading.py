"""Plans of denoisers of many shapes, run by the CPU kernels and compared with ONNX Runtime on their graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import ModelProto

from shadowdiffusion import runtime
from shadowdiffusion.export.cpu_graph.network import Attention, Convolution
from shadowdiffusion.export.cpu_graph.plan import encode_plan
from shadowdiffusion.export.cpu_graph.reading import read_network
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes import fold, mask_head, time_table
from shadowdiffusion.export.precision.mixed import single_graph
from shadowdiffusion.runtime.backends.cpu_library import Network
from shadowdiffusion.runtime.bundle.folder import DENOISER, PRIOR, Task
from shadowdiffusion.runtime.bundle.opening import built_in
from shadowdiffusion.runtime.errors import BundleError
from tests import cpu_kernels
from tests.export.conftest import changed, images, run

SIZES = ((16, 16), (32, 80), (64, 48), (112, 144))
Rows = npt.NDArray[np.float32]


def passed(denoiser: ModelProto) -> tuple[ModelProto, Rows, ModelProto]:
    """Denoiser, its rows for two timesteps, and its mask head."""
    model, rows = time_table.apply(denoiser, [400, 7])
    body, head = mask_head.split(model)
    return fold.apply(body), rows, fold.apply(head)


@pytest.fixture(scope="session", params=["patches", "attention at two levels"])
def network(request: pytest.FixtureRequest, graphs: dict[str, ModelProto]) -> tuple[ModelProto, Rows, ModelProto]:
    if request.param == "patches":
        return passed(graphs["denoiser"])
    return passed(request.getfixturevalue("attentive"))


def test_a_plan_computes_what_its_graph_does(
    network: tuple[ModelProto, Rows, ModelProto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu_kernels.use(monkeypatch)
    denoiser, rows, head = network
    for file, model in (("denoiser", denoiser), ("head", head)):
        (tmp_path / file).write_bytes(encode_plan(read_network(model)))
    plans = [Network(tmp_path / "denoiser", threads) for threads in (1, 3)]
    masks = Network(tmp_path / "head", 2)
    for height, width in SIZES:
        for row in rows:
            feed = images(1, height, width)
            expected = run(denoiser, feed | {"row": row[None]})
            planes = {key: value[0] for key, value in feed.items()}
            noise, features = plans[0].run(planes, row, ["noise", "features"])
            for found, truth in ((noise, expected["noise"][0]), (features, expected["features"][0])):
                assert found.shape == truth.shape
                assert np.linalg.norm(found - truth) < 1e-5 * np.linalg.norm(truth)
            again = plans[1].run(planes, row, ["noise"])[0]
            assert np.array_equal(noise, again), "the number of threads changes the result"
        shadow = masks.run({"features": features}, None, ["shadow"])[0]
        truth = run(head, {"features": features[None]})["shadow"][0]
        assert shadow.shape == (1, height, width)
        np.testing.assert_allclose(shadow, truth, atol=2e-5)


def test_what_a_plan_refuses(graphs: dict[str, ModelProto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_kernels.use(monkeypatch)
    denoiser, rows, _ = passed(graphs["denoiser"])
    (tmp_path / "plan").write_bytes(encode_plan(read_network(denoiser)))
    plan, planes = Network(tmp_path / "plan", 1), {key: value[0] for key, value in images(1, 16, 16).items()}
    with pytest.raises(runtime.RestoreError, match=f"takes a row of {rows.shape[1]} values, not 0"):
        plan.run(planes, None, ["noise"])
    with pytest.raises(runtime.RestoreError, match="multiples of 4 pixels, not 14x16"):
        plan.run({key: value[:, :, :14] for key, value in planes.items()}, rows[0], ["noise"])
    with pytest.raises(runtime.RestoreError, match="no input or output `clean`"):
        plan.run(planes, rows[0], ["clean"])
    with pytest.raises(runtime.RestoreError, match="takes `x_t`, which is not given"):
        plan.run({key: planes[key] for key in ("image", "mask")}, rows[0], ["noise"])
    with pytest.raises(runtime.RestoreError, match=r"mask is \[1, height, width\], not \[2, 16, 16\]"):
        plan.run(planes | {"mask": np.zeros((2, 16, 16), np.float32)}, rows[0], ["noise"])
    with pytest.raises(runtime.RestoreError, match="of different sizes"):
        plan.run(planes | {"mask": np.zeros((1, 32, 16), np.float32)}, rows[0], ["noise"])
    whole = (tmp_path / "plan").read_bytes()
    for length in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(BundleError, match="is no plan of a network"):
            Network(tmp_path / "cut", 1)


@pytest.mark.parametrize("task", ["shadow", "low-light", "exposure"])
def test_the_built_in_denoisers_are_read_whole(task: Task) -> None:
    model = single_graph(onnx.load_model(built_in(task) / DENOISER))
    network = read_network(model)
    convolutions = [step for step in network.steps if isinstance(step, Convolution)]
    assert len(convolutions) == sum(node.op_type == "Conv" for node in model.graph.node)
    assert sum(isinstance(step, Attention) for step in network.steps) == 1
    assert sum(step.row is not None for step in convolutions) == 14  # one for each residual block
    assert sum(step.plus is not None for step in convolutions) == 15  # and one for the attention
    assert sum(step.doubled for step in convolutions) == 3
    assert set(network.outputs) == {"noise", "features"}
    assert network.row == 1376


def test_graphs_that_the_kernels_cannot_run_are_refused(graphs: dict[str, ModelProto]) -> None:
    prior = single_graph(onnx.load_model(built_in("shadow") / PRIOR))
    with pytest.raises(ExportError, match="its output clean is made in an unknown way"):
        read_network(prior)
    with pytest.raises(ExportError, match="its output noise is made in an unknown way"):
        read_network(graphs["denoiser"])  # which computes its time embedding


def test_a_changed_graph_is_not_taken_for_the_usual_one(graphs: dict[str, ModelProto]) -> None:
    model, _, _ = passed(graphs["denoiser"])
    changes = {
        "Conv": ("dilations", [2, 2]),
        "DepthToSpace": ("mode", b"DCR"),
        "Softmax": ("axis", 1),
    }
    for kind, (name, value) in changes.items():
        with pytest.raises(ExportError, match="unknown way"):
            read_network(changed(model, kind, name, value))
