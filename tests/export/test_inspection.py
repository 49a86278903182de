"""`inspect`: everything of a bundle or an engine, for machines and for people."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from shadowdiffusion.export.commands.results import COLUMNS
from shadowdiffusion.export.engines.layers import Layer, write_layers
from shadowdiffusion.export.inspection import HEAVIEST, BundleFacts, EngineFacts
from shadowdiffusion.export.inspection_text import lines
from shadowdiffusion.runtime.bundle.engines import Gate, engine_stores
from shadowdiffusion.runtime.bundle.folder import ENGINES, Bundle, Difference, Note, Verification, write_manifest
from shadowdiffusion.runtime.bundle.opening import load_bundle
from tests.export.command_line import assert_refused, call
from tests.runtime.engine_folders import add_engine, make_key, write_engine
from tests.runtime.tiny import write_bundle


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "b", golden=True)


def facts_of(path: Path, *options: str) -> BundleFacts:
    """The JSON has every field of the struct and no other."""
    result = call("inspect", path, "--json", *options)
    assert result.exit_code == 0, result.output
    return msgspec.json.decode(result.stdout, type=BundleFacts)


def test_a_bundle_is_described_to_machines(bundle: Bundle) -> None:
    facts, model = facts_of(bundle.path), bundle.manifest.model
    denoiser = facts.graphs["denoiser.onnx"]
    assert denoiser.operators["InstanceNormalization"] > 5
    assert sum(denoiser.operators.values()) == denoiser.nodes
    # without the time embedding, which is a table
    assert 0.9 * model.denoiser_parameters <= denoiser.weights["float"] < model.denoiser_parameters
    assert denoiser.opset == 18
    assert denoiser.inputs["row"].startswith("float[1, ")
    assert facts.graphs["prior.onnx"].outputs["clean"] == "float[N, 3, height, width]"
    assert facts.verification == bundle.manifest.verification
    assert facts.notes == bundle.manifest.notes
    assert facts.bytes == sum(entry.size for entry in bundle.manifest.files.values())


def test_cost_is_summed_and_its_heaviest_layers_are_listed(bundle: Bundle) -> None:
    graph = facts_of(bundle.path, "--layers").graphs["denoiser.onnx"]
    cost = graph.cost
    assert cost.estimated_for == "1x96x96"
    assert sum(group.count for group in cost.groups) == len(cost.layers) <= graph.nodes
    assert sum(group.macs for group in cost.groups) == sum(layer.macs for layer in cost.layers) == cost.macs > 0
    assert cost.groups[0].operator == "Conv"
    stem = next(layer for layer in cost.layers if layer.operator == "Conv")
    assert stem.shape == [1, 16, 48, 48]
    assert stem.macs == 16 * 48 * 48 * 28 * 9  # 7 channels of 2x2 patches, 3x3 kernel
    assert stem.precision == "fp32"
    few = facts_of(bundle.path).graphs["denoiser.onnx"].cost.layers
    assert len(few) == HEAVIEST
    assert few == sorted(cost.layers, key=lambda layer: -layer.macs)[:HEAVIEST]


def test_a_bundle_is_described_to_people(bundle: Bundle) -> None:
    text = call("inspect", bundle.path).stdout
    for words in (
        *("tiny (shadow)", "opset 18", "InstanceNormalization", "GMAC", "exact  ", "blind loop"),
        *("accuracy of onnx against PyTorch: passed", "time-table: "),
    ):
        assert words in text
    assert max(map(len, text.splitlines())) <= COLUMNS


def test_approximate_passes_say_what_they_cost(path: Path) -> None:
    manifest = load_bundle(path).manifest
    notes = [Note("half-weights", "approximate", "weights are rounded", 101.75), Note("fold", "exact", "constants")]
    write_manifest(path, msgspec.structs.replace(manifest, notes=notes))
    text = call("inspect", path).stdout
    assert "approximate      half-weights: weights are rounded; costs: 101.8 dB against results without it" in text
    assert "exact            fold: constants\n" in text
    assert "accuracy: never measured" in text


def test_engines_of_a_bundle_are_listed_with_their_keys(path: Path) -> None:
    whole, broken = add_engine(path), add_engine(path, backend_version="1.6.0")
    (path / ENGINES / broken / "record.json").write_bytes(b"{")
    facts = facts_of(path).engines
    assert facts[whole].state == "whole"
    record = facts[whole].record
    assert record is not None
    assert (record.status, record.key.backend_version) == ("not run on a GPU yet", "1.7.1.116")
    assert "record.json is not the record of an engine" in facts[broken].state
    assert facts[broken].record is None
    text = " ".join(call("inspect", path).stdout.split())
    assert "SM 89, TensorRT for RTX 1.7.1.116, fp16, 64x64" in text
    assert "record.json is not the record of an engine" in text
    assert "not compared with the portable ONNX yet" in text


@pytest.mark.parametrize("file", ["", "prior.engine", "record.json"])
def test_one_engine(path: Path, file: str) -> None:
    folder = path / ENGINES / add_engine(path)
    result = call("inspect", folder / file)
    assert result.exit_code == 0, result.output
    assert "whole; not run on a GPU yet" in result.stdout
    digest = load_bundle(path).manifest.files["prior.onnx"].sha256
    assert f"from, SHA-256  prior.onnx {digest}" in result.stdout
    assert "image float [1] [1] [4]" in result.stdout
    (folder / "prior.engine").write_bytes(b"engine" * 99)
    assert "prior.engine is damaged (594 bytes instead of 600)" in call("inspect", folder).stdout
    renamed = shutil.copytree(folder, path.parent / "alone")
    assert "record.json is damaged" in call("inspect", renamed).stdout


def test_an_engine_that_was_built_again_has_old_figures(path: Path) -> None:
    name = add_engine(path)  # built in January
    manifest = load_bundle(path).manifest
    for created, outdated in (("2025-12-31T00:00:00+00:00", True), ("2026-01-02T00:00:00+00:00", False)):
        differences = {"loop": Difference(0.01, 0.002, 51.5), "blind loop": Difference(0.01, 0.002, 50.5)}
        found = Verification("portable ONNX", created, ["a.jpg 64x64"], differences, passed=True)
        write_manifest(path, msgspec.structs.replace(manifest, verification={name: found, "gone": found}))
        facts = facts_of(path).engines[name]
        assert (facts.verification, facts.outdated) == (found, outdated)
        text = call("inspect", path / ENGINES / name).stdout
        assert ("OLD" in text) == outdated
        assert "51.5 dB" in text
        whole = " ".join(call("inspect", path).stdout.split())
        assert "accuracy of gone (an engine that is not here) against portable ONNX: passed" in whole


def test_layers_gate_and_fallbacks_of_an_engine(path: Path) -> None:
    layers = {"denoiser.onnx": [Layer("stem", "Conv", "fp16", [1, 8, 64, 64], 10_000_000, 2_000_000)]}
    write_layers(path.parent, layers)
    raw = (path.parent / "layers.json").read_bytes()
    folder = write_engine(
        engine_stores(load_bundle(path))[0],
        make_key(path),
        extra={"layers.json": raw},
        gate=Gate(51.2, 50.0, ["a.jpg"]),
        kept_in_fp32={"denoiser.onnx": ["noise_conv", "stem"]},
        latency_ms={"denoiser.onnx": 1.25},
    )
    facts = msgspec.json.decode(call("inspect", folder, "--json").stdout, type=EngineFacts)
    cost = facts.costs["denoiser.onnx"]
    assert (cost.estimated_for, cost.macs, cost.layers) == ("1x64x64", 10_000_000, layers["denoiser.onnx"])
    text = "\n".join(lines(facts))
    for words in ("51.2 dB over the loop, 50 dB needed, a.jpg", "noise_conv, stem", "Conv", "fp16", "0.010"):
        assert words in text


def test_other_things_are_refused(tmp_path: Path, path: Path) -> None:
    (tmp_path / "record.json").write_text("{}")
    assert_refused(call("inspect", tmp_path), "record of an engine")
    assert_refused(call("inspect", tmp_path / "absent"), "does not exist")
    (path / "denoiser.onnx").write_bytes(b"")
    assert_refused(call("inspect", path), "denoiser.onnx", "damaged")
