"""A bundle appears complete and verified, or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from shadowdiffusion import runtime
from shadowdiffusion.export import graph, verify
from shadowdiffusion.export.bundle import BundleOptions, build_bundle, check_target, folder_beside, put_in_place
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.training.checkpoint import Model
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.sampler import SamplerOptions
from tests.export.conftest import output_names


def options(**changes: Any) -> BundleOptions:
    sampling = SamplerOptions(**changes.pop("sampling", {}))
    return BundleOptions(sampling, "test", **changes)


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_bundle_is_complete_and_says_what_it_is(model: Model, bundle: Bundle) -> None:
    names = {
        "denoiser.onnx",
        "denoiser.rows.npy",
        "mask_head.onnx",
        "prior.onnx",
        "golden/input.npz",
        "golden/expected.npz",
    }
    assert set(bundle.manifest.files) == names
    assert set(content(bundle.path)) == names | {"manifest.json"}
    info, manifest = bundle.manifest.model, bundle.manifest
    assert model.denoiser is not None
    assert info.denoiser_parameters == sum(p.numel() for p in model.denoiser.parameters())
    assert info.denoiser_size == "custom"
    assert info.multiple == 4
    assert info.working_size == 96
    assert manifest.sampling.default_steps == 5
    assert {1, 5, 25} <= set(manifest.sampling.supported_steps)
    assert manifest.versions.opset == 18
    found = manifest.verification["onnx"]
    assert (found.against, found.passed) == ("PyTorch", True)
    assert found.photos == ["shadow.jpg 160x96", "shadow.jpg 96x160"]
    networks = output_names(5)
    loops = {*(f"step {number}" for number in range(1, 6)), "loop", "blind loop", "golden"}
    assert set(found.differences) == networks | loops
    assert min(found.differences[key].psnr for key in networks) > 80
    assert all(note.exactness == "exact" for note in manifest.notes)


def test_golden_check_passes_in_the_runtime(bundle: Bundle) -> None:
    assert runtime.load(bundle.path, "portable", "cpu", 1).check() > 60


def test_half_weights_are_smaller_and_declared_as_approximate(
    model: Model, bundle: Bundle, exported: None, tmp_path: Path
) -> None:
    manifest = build_bundle(model, tmp_path / "half", options(passes={"half-weights": True}))
    assert manifest.files["denoiser.onnx"].size < 0.75 * bundle.manifest.files["denoiser.onnx"].size
    (note,) = [note for note in manifest.notes if note.exactness == "approximate"]
    assert note.name == "half-weights"
    assert note.psnr is not None
    assert note.psnr > verify.HALF_WEIGHTS_DB
    assert runtime.load(tmp_path / "half", "portable", "cpu", 1).check() > 60


def test_denoiser_alone_makes_a_bundle_that_needs_masks(model: Model, exported: None, tmp_path: Path) -> None:
    alone = Model(model.denoiser, None)
    manifest = build_bundle(alone, tmp_path / "alone", options(sampling={"data_consistency": False}))
    assert "prior.onnx" not in manifest.files
    assert manifest.model.prior_parameters is None
    assert any("needs a mask" in note.detail for note in manifest.notes)
    assert runtime.load(tmp_path / "alone", "portable", "cpu", 1).check() > 60


@pytest.mark.parametrize(
    ("sampling", "words"),
    [({}, "data consistency"), ({"start": 300, "data_consistency": False}, "timestep 300"),
     ({"mask_policy": "closed-form", "data_consistency": False}, "closed-form")],
)  # fmt: skip
def test_what_needs_a_prior_is_refused_without_one(
    model: Model, tmp_path: Path, sampling: dict[str, Any], words: str
) -> None:
    with pytest.raises(ExportError, match=words):
        build_bundle(Model(model.denoiser, None), tmp_path / "b", options(sampling=sampling))
    assert not list(tmp_path.iterdir())


def test_prior_alone_is_refused(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no denoiser"):
        build_bundle(Model(None, model.prior), tmp_path / "b", options())
    assert not list(tmp_path.iterdir())


def test_start_beyond_the_schedule_is_refused(model: Model, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="1000"):
        build_bundle(model, tmp_path / "b", options(sampling={"start": 1000}))
    assert not list(tmp_path.iterdir())


def test_wrong_graph_is_not_written(
    model: Model, exported: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    correct = graph.export_denoiser

    def damaged(denoiser: Any) -> onnx.ModelProto:
        proto = correct(denoiser)
        tensor = next(t for t in proto.graph.initializer if t.name == "noise_conv.weight")
        values = numpy_helper.to_array(tensor) * np.float32(1.001)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        return proto

    monkeypatch.setattr(graph, "export_denoiser", damaged)
    with pytest.raises(ExportError, match=r"denoiser\.noise \d agrees with PyTorch to"):
        build_bundle(model, tmp_path / "b", options())
    assert not list(tmp_path.iterdir())


def test_loop_that_differs_is_not_written(
    model: Model, exported: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = verify.OnBackend.states
    monkeypatch.setattr(verify.OnBackend, "states", lambda *given: [1.01 * x for x in states(*given)])
    with pytest.raises(ExportError, match=r"(loop|step \d) agrees with PyTorch"):
        build_bundle(model, tmp_path / "b", options())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit, MemoryError, ExportError])
@pytest.mark.parametrize("step", ["compare", "golden_difference", "reference_loop"])
def test_failure_on_the_way_leaves_nothing_and_keeps_the_old(
    model: Model,
    bundle: Bundle,
    exported: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: type[BaseException],
    step: str,
) -> None:
    target = tmp_path / "old"
    bundle_copy(bundle, target)
    before = content(target)

    def fail(*_: object, **__: object) -> None:
        raise failure("on the way")

    monkeypatch.setattr(verify, step, fail)
    with pytest.raises(failure):
        build_bundle(model, target, options(force=True))
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert content(target) == before


def test_failure_of_the_last_rename_brings_the_old_bundle_back(
    model: Model, bundle: Bundle, exported: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    target, rename = tmp_path / "old", os.rename
    bundle_copy(bundle, target)
    before = content(target)

    def fail(source: Path, destination: Path) -> None:
        if Path(source).suffix == ".tmp":
            raise OSError(28, "No space left on device")
        rename(source, destination)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="No space"):
        build_bundle(model, target, options(force=True))
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert content(target) == before


def test_force_replaces_a_bundle(model: Model, bundle: Bundle, exported: None, tmp_path: Path) -> None:
    target = tmp_path / "old"
    bundle_copy(bundle, target)
    with pytest.raises(ExportError, match="--force"):
        build_bundle(model, target, options())
    build_bundle(model, target, options(force=True, sampling={"steps": 7}))
    assert load_bundle(target).manifest.sampling.default_steps == 7
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_force_deletes_nothing_but_bundles(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"precious")
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    for name in ("photos", "file", "link"):
        with pytest.raises(ExportError, match="is not a bundle"):
            check_target(tmp_path / name, force=True)
    with pytest.raises(ExportError, match="does not exist"):
        check_target(tmp_path / "missing" / "bundle", force=True)


def test_photo_that_cannot_be_read_is_refused(model: Model, exported: None, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text(json.dumps("not a photo"))
    with pytest.raises(ExportError, match=r"photo\.jpg"):
        build_bundle(model, tmp_path / "b", options(photos=(tmp_path / "photo.jpg",)))
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def bundle_copy(bundle: Bundle, target: Path) -> None:
    import shutil

    shutil.copytree(bundle.path, target)


@pytest.mark.parametrize("mask", [0o022, 0o027])
def test_a_bundle_has_the_mode_of_new_folders(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with folder_beside(tmp_path / "bundle") as folder:
            (tmp_path / "plain").mkdir()
            assert folder.stat().st_mode == (tmp_path / "plain").stat().st_mode
    finally:
        os.umask(before)


def test_a_bundle_of_any_name_has_its_folder_beside_it(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 255)
    with folder_beside(target) as folder:
        (folder / "manifest.json").touch()
        put_in_place(folder, target, force=False)
    with folder_beside(target) as folder:
        (folder / "another").touch()
        put_in_place(folder, target, force=True)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert [path.name for path in target.iterdir()] == ["another"]
