"""An ONNX file of a bundle says by itself what it takes, what it gives and where it comes from."""

from __future__ import annotations

import copy

import onnx
import onnxruntime
import pytest
from onnx import ModelProto

from shadowdiffusion.export.description import describe
from shadowdiffusion.export.passes import packed_input
from shadowdiffusion.runtime.bundle.folder import FORMAT_VERSION, NETWORKS, Bundle, Task
from shadowdiffusion.runtime.bundle.opening import built_in, load_bundle

TASKS: tuple[Task, ...] = ("shadow", "exposure", "low-light")
SIZES = {0: {"N"}, 2: {"height", "height/2"}, 3: {"width", "width/2"}}


def networks(bundle: Bundle) -> dict[str, ModelProto]:
    return {name: onnx.load_model(bundle.path / name) for name in NETWORKS if name in bundle.manifest.files}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_session_knows_what_its_network_is(bundle: Bundle, name: str) -> None:
    session = onnxruntime.InferenceSession(bundle.path / name, providers=["CPUExecutionProvider"])
    found = session.get_modelmeta()
    facts = found.custom_metadata_map
    assert found.producer_name == "shadowdiffusion"
    assert found.graph_name == facts["network"] == name.removesuffix(".onnx")
    assert "multiples of 4 pixels" in found.description
    assert (facts["task"], facts["size_multiple"]) == ("shadow", "4")
    assert facts["bundle_format_version"] == str(FORMAT_VERSION)
    for kind, values in (("input", session.get_inputs()), ("output", session.get_outputs())):
        described = {key.removeprefix(f"{kind}.") for key in facts if key.startswith(f"{kind}.")}
        assert described == {value.name for value in values}


def test_ranges_of_the_photo_are_those_of_each_network(bundle: Bundle) -> None:
    graphs = networks(bundle)
    said = {name: {value.name: value.doc_string for value in model.graph.input} for name, model in graphs.items()}
    assert "[-1, 1]" in said["denoiser.onnx"]["image"]
    assert "[0, 1]" in said["prior.onnx"]["image"]
    assert "denoiser.rows.npy" in said["denoiser.onnx"]["row"]


def test_dimensions_have_one_name_each_in_all_networks(bundle: Bundle, plain: Bundle) -> None:
    for found in (bundle, plain, *(load_bundle(built_in(task)) for task in TASKS)):
        for model in networks(found).values():
            for value in (*model.graph.input, *model.graph.output):
                dims = list(value.type.tensor_type.shape.dim)
                named = {axis: dim.dim_param for axis, dim in enumerate(dims) if not dim.HasField("dim_value")}
                assert all(text in SIZES[axis] for axis, text in named.items()), (value.name, named)
                assert value.name in ("row", "t") or named.keys() == SIZES.keys()
                assert (value.name == "features") == ("height/2" in named.values())


def test_a_network_without_a_time_table_takes_the_timestep(plain: Bundle) -> None:
    (time,) = [v for v in onnx.load_model(plain.path / "denoiser.onnx").graph.input if v.name == "t"]
    assert "timestep" in time.doc_string


@pytest.mark.parametrize("task", TASKS)
def test_built_in_networks_say_what_an_export_says_today(task: Task) -> None:
    bundle = load_bundle(built_in(task))
    manifest = bundle.manifest
    for name, model in networks(bundle).items():
        assert {item.key: item.value for item in model.metadata_props}["task"] == task
        again = copy.deepcopy(model)
        describe(again, name, manifest.task, manifest.model.multiple, manifest.versions)
        assert again == model


def test_the_packed_input_is_described_as_what_it_is(bundle: Bundle) -> None:
    packed = packed_input.apply(networks(bundle)["denoiser.onnx"])
    (value,) = [value for value in packed.graph.input if value.name == "input"]
    assert value.doc_string == "image, mask, x_t, side by side"
