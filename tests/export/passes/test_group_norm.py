"""Three ways to write a group normalisation."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from shadowdiffusion.export.passes import group_norm
from shadowdiffusion.export.precision.mixed import mixed_graph
from shadowdiffusion.export.precision.simulate import simulated
from tests.export.conftest import ATTENTIVE
from tests.export.passes.graphs import Network, images, kinds, run, worst_difference

FORMS = {"native": group_norm.native, "two-pass": group_norm.two_pass}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Callable[[onnx.ModelProto], onnx.ModelProto]:
    return FORMS[request.param]


@cache
def exported(groups: int, channels: int) -> tuple[onnx.ModelProto, torch.nn.GroupNorm]:
    """One group normalisation with random gamma and beta as the exporter writes it: copy both before changing them."""
    from shadowdiffusion.export import graph

    torch.manual_seed(groups)
    norm = torch.nn.GroupNorm(groups, channels)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    spatial = graph._spatial(1)
    return graph._export(norm, (torch.zeros(2, channels, 4, 6),), {"input": spatial}, ["x"], ["y"]), norm


@pytest.mark.parametrize(("groups", "channels"), [(1, 6), (3, 6), (6, 6), (4, 32)])
@pytest.mark.parametrize("size", [(1, 2), (5, 7), (16, 24)])
def test_every_form_is_pytorchs_group_norm(
    form: Callable[[onnx.ModelProto], onnx.ModelProto], groups: int, channels: int, size: tuple[int, int]
) -> None:
    model, norm = exported(groups, channels)
    changed = form(model)
    onnx.checker.check_model(changed, full_check=True)
    assert "InstanceNormalization" not in kinds(changed)
    x = torch.randn(3, channels, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        truth = norm(x).numpy()
    np.testing.assert_allclose(run(changed, {"x": x.numpy()})[0], truth, rtol=1e-5, atol=2e-5)


def test_the_two_pass_form_keeps_its_digits_far_from_zero() -> None:
    """Where mean(x^2) - mean(x)^2 has none left."""
    model, norm = exported(4, 32)
    x = 1000 + torch.randn(1, 32, 16, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        truth = copy.deepcopy(norm).double()(x.float().double()).numpy()
    found = run(group_norm.two_pass(model), {"x": x.float().numpy()})[0]
    assert np.linalg.norm(found - truth) / np.linalg.norm(truth) < 1e-4


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 32, 16), (2, 16, 48)])
def test_a_whole_denoiser_computes_the_same(
    form: Callable[[onnx.ModelProto], onnx.ModelProto], denoiser: Network, batch: int, height: int, width: int
) -> None:
    changed = form(denoiser.model)
    onnx.checker.check_model(changed)
    assert "InstanceNormalization" in kinds(denoiser.model)
    assert "InstanceNormalization" not in kinds(changed)
    # ONNX Runtime expands the native form into mean(x^2) - mean(x)^2, which the trained weights notice
    limit = 1e-4 if form is group_norm.native else 1e-5
    assert worst_difference(denoiser, changed, batch, height, width) < limit


def test_a_graph_in_half_precision_computes_the_same(
    form: Callable[[onnx.ModelProto], onnx.ModelProto], attentive: Network
) -> None:
    """There the reshape before the statistics is in half precision, and the cast comes after it."""
    mixed = mixed_graph(attentive.model)
    changed = form(mixed)
    onnx.checker.check_model(changed)
    assert list(group_norm.norms(mixed))
    assert "InstanceNormalization" not in kinds(changed)
    feed = images(attentive.model, 1, 32, 16) | attentive.others
    found, before, exact = (run(model, feed)[:2] for model in (simulated(changed), simulated(mixed), attentive.model))
    for one, other, truth in zip(found, before, exact, strict=True):  # a rounding elsewhere moves those after it
        assert 0 < np.linalg.norm(one - truth) < 1.2 * np.linalg.norm(other - truth)


def test_native_norms_need_their_opset(attentive: Network) -> None:
    changed = group_norm.native(attentive.model)
    assert [item.version for item in changed.opset_import if item.domain == ""] == [21]
    assert [item.version for item in attentive.model.opset_import if item.domain == ""] == [18]
    found = Counter(kinds(changed))["GroupNormalization"]
    assert found == Counter(kinds(attentive.model))["InstanceNormalization"] > 0


@pytest.mark.parametrize("place", ["scale of the instance norm", "shape"])
def test_what_only_looks_like_a_group_norm_stays(
    form: Callable[[onnx.ModelProto], onnx.ModelProto], place: str
) -> None:
    model = copy.deepcopy(exported(3, 6)[0])
    (instance,) = (node for node in model.graph.node if node.op_type == "InstanceNormalization")
    (split,) = (node for node in model.graph.node if instance.input[0] in node.output)
    name, values = (
        (instance.input[1], np.full(3, 2, np.float32))
        if place.startswith("scale")
        else (split.input[1], np.array([1, 3, -1]))  # right for one image only
    )
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(values, name))
    assert Counter(kinds(form(model))) == Counter(kinds(model))


def test_groups_are_those_of_the_network(attentive: Network) -> None:
    found = list(group_norm.norms(attentive.model))
    assert {norm.groups for norm in found} == {ATTENTIVE.groups}
    assert {norm.gamma.size for norm in found} >= set(ATTENTIVE.widths)
