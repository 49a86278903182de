from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shadowdiffusion.runtime.bundle import opening
from shadowdiffusion.runtime.bundle.folder import FileEntry, hash_file, hash_files, parse_manifest, write_manifest
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.errors import BundleError


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    change(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_a_whole_bundle_loads_and_its_manifest_survives_a_round_trip(copy: Path) -> None:
    opened = load_bundle(copy)
    assert opened.has_prior
    assert opened.manifest.sampling.supported_steps == [2, 5]
    before = (copy / "manifest.json").read_bytes()
    write_manifest(copy, opened.manifest)
    assert (copy / "manifest.json").read_bytes() == before
    assert load_bundle(copy).manifest == opened.manifest
    assert not list(copy.glob(".*"))


def test_hash_file_matches_a_known_digest(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_file(tmp_path / "abc") == FileEntry(3, expected)


@pytest.mark.parametrize("version", [0, 1, 99])
def test_another_format_version_is_refused_naming_both(copy: Path, version: int) -> None:
    edit(copy, lambda manifest: manifest.update(format_version=version, novelty=True))
    with pytest.raises(BundleError, match=rf"version {version}\b.*version 2\b"):
        load_bundle(copy)


@pytest.mark.parametrize("name", ["denoiser.onnx", "prior.onnx", "golden/input.npz"])
def test_a_flipped_bit_is_found(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(BundleError, match=rf"{name}.*damaged.*SHA-256"):
        load_bundle(copy)


def test_a_cut_file_is_found(copy: Path) -> None:
    data = (copy / "denoiser.onnx").read_bytes()
    (copy / "denoiser.onnx").write_bytes(data[:-1])
    with pytest.raises(BundleError, match=rf"{len(data) - 1} bytes instead of {len(data)}"):
        load_bundle(copy)


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "prior.onnx").unlink()
    with pytest.raises(BundleError, match=r"prior\.onnx.*is missing"):
        load_bundle(copy)


def test_an_unlisted_file_is_named(copy: Path) -> None:
    (copy / "golden" / "extra.bin").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"golden/extra\.bin"):
        load_bundle(copy)


def test_what_another_process_is_writing_does_not_matter(copy: Path) -> None:
    (copy / ".manifest.json.x1.tmp").write_bytes(b"{")
    (copy / "engines" / ".sm89.tmp").mkdir(parents=True)
    (copy / "engines" / ".sm89.tmp" / "denoiser.engine").touch()
    assert not [name for name in hash_files(copy) if "tmp" in name]
    (copy / "engines" / "sm89").mkdir()  # registered after this process has read the manifest
    (copy / "engines" / "sm89" / "denoiser.engine").touch()
    load_bundle(copy)


def test_a_link_that_is_not_listed_is_named(copy: Path) -> None:
    (copy / "golden" / "more").symlink_to(copy.parent, target_is_directory=True)
    with pytest.raises(BundleError, match="golden/more"):
        load_bundle(copy)


def test_engines_are_not_listed(copy: Path) -> None:
    edit(copy, lambda manifest: manifest["files"].update({"engines/a/record.json": {"size": 1, "sha256": "0" * 64}}))
    with pytest.raises(BundleError, match=r"engines/a/record\.json is listed"):
        load_bundle(copy)


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/passwd", "golden/../../x", "a\\b", "C:x", "", ".", "a//b", "./a", "manifest.json"],
)
def test_a_file_name_that_could_leave_the_bundle_is_refused(copy: Path, name: str) -> None:
    (copy.parent / "secret").write_bytes(b"")
    edit(copy, lambda manifest: manifest["files"].update({name: {"size": 0, "sha256": "0" * 64}}))
    with pytest.raises(BundleError, match="file name"):
        load_bundle(copy)


CONTRADICTIONS: dict[str, Callable[[Any], Any]] = {
    "unknown field": lambda m: m.update(surprise=1),
    "missing field": lambda m: m.pop("name"),
    "unknown task": lambda m: m.update(task="portraits"),
    "unknown policy": lambda m: m["sampling"].update(mask_policy="guess"),
    "wrong type": lambda m: m["model"].update(multiple="8"),
    "zero multiple": lambda m: m["model"].update(multiple=0),
    "floor above ceiling": lambda m: m["model"]["illumination"].update(floor=9.0),
    "default without table": lambda m: m["sampling"].update(default_steps=3),
    "empty table": lambda m: m["sampling"]["tables"].update({"2": []}),
    "key not a number": lambda m: m["sampling"]["tables"].update(many=m["sampling"]["tables"]["2"]),
    "alpha_bar above 1": lambda m: m["sampling"]["tables"]["2"][0].update(alpha_bar=1.5),
    "steps out of order": lambda m: m["sampling"]["tables"]["5"].reverse(),
    "broken chain": lambda m: m["sampling"]["tables"]["5"][0].update(alpha_bar_next=0.5),
    "does not end clean": lambda m: m["sampling"]["tables"]["2"][-1].update(alpha_bar_next=0.9),
    "sigma too large": lambda m: m["sampling"]["tables"]["2"][0].update(sigma=5.0),
    "negative rho": lambda m: m["sampling"]["tables"]["2"][0].update(rho=-1),
    "start without alpha_bar": lambda m: m["sampling"].update(start=50),
    "prior not described": lambda m: m["model"].update(prior_parameters=None),
    "no denoiser": lambda m: m["files"].pop("denoiser.onnx"),
    "engine nobody listed": lambda m: m["files"].update({"engines/x/a": {"size": 0, "sha256": "0" * 64}}),
    "bad digest": lambda m: m["files"]["prior.onnx"].update(sha256="xyz"),
}


@pytest.mark.parametrize("change", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_a_manifest_that_cannot_be_right_is_refused(copy: Path, change: Callable[[Any], Any]) -> None:
    edit(copy, change)
    with pytest.raises(BundleError, match="not a valid manifest"):
        load_bundle(copy)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff\xfe", b'{"format_version": "1"}', b'{"format_version": NaN}'])
def test_bytes_that_are_no_manifest_are_refused(raw: bytes) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json is not a valid manifest"):
        parse_manifest(raw)


def test_an_invalid_manifest_is_never_written(copy: Path) -> None:
    before = (copy / "manifest.json").read_bytes()
    manifest = msgspec.structs.replace(load_bundle(copy).manifest, task="portraits")
    with pytest.raises(BundleError):
        write_manifest(copy, manifest)
    assert (copy / "manifest.json").read_bytes() == before


def test_places_without_a_bundle_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(opening, "DEFAULT_BUNDLE", tmp_path / "builtin")
    for path, message in [
        (tmp_path / "absent", "does not exist"),
        (tmp_path / "file", "not a whole zip file"),
        (tmp_path, r"no manifest\.json"),
        (None, "no built-in bundle.*--bundle"),
    ]:
        with pytest.raises(BundleError, match=message):
            load_bundle(path)
