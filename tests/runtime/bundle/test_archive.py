"""Bundles in one zip file: the same bundle, and nothing else from the file reaches the disk."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from shadowdiffusion import runtime
from shadowdiffusion.runtime.bundle import archive
from shadowdiffusion.runtime.bundle.engines import engine_damage, read_engine, stored_engines
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.cache import cache_folder
from shadowdiffusion.runtime.errors import BundleError
from tests.runtime.engine_folders import add_engine

Members = list[tuple[zipfile.ZipInfo, bytes]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "shadowdiffusion" / "bundles"


def members(bundle: Path) -> Members:
    engines = [str(file.relative_to(bundle)) for file in sorted(bundle.glob("engines/*/*"))]
    names = ["manifest.json", *sorted(load_bundle(bundle).manifest.files), *engines]
    return [(zipfile.ZipInfo(name), (bundle / name).read_bytes()) for name in names]


def write_zip(path: Path, content: Members) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for member, data in content:
            file.writestr(member, data)
    return path


@pytest.fixture
def packed(bundle: Path, tmp_path: Path) -> Path:
    return write_zip(tmp_path / "b.zip", members(bundle))


def test_a_packed_bundle_is_the_same_bundle(bundle: Path, packed: Path, cache: Path) -> None:
    opened = load_bundle(packed)
    assert opened.manifest == load_bundle(bundle).manifest
    assert opened.path.parent == cache
    assert runtime.load(packed, "portable", "cpu", 1).check() > 50


def test_the_second_call_finds_the_first_ones_copy(packed: Path, cache: Path) -> None:
    first = load_bundle(packed).path
    stamp = (first / "denoiser.onnx").stat().st_mtime_ns
    assert load_bundle(packed).path == first
    assert (first / "denoiser.onnx").stat().st_mtime_ns == stamp
    assert [path.name for path in cache.iterdir()] == [first.name]


@pytest.mark.parametrize("top", ["", "shadow/", "../", "./", "..\\/"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_bundle_packed_by_other_programs_is_read(
    bundle: Path, tmp_path: Path, cache: Path, top: str, compression: int
) -> None:
    """Compressed, with its folder on top and with entries for folders; the name of that folder goes nowhere."""
    content = members(bundle)
    folders = {f"{Path(member.filename).parent}/" for member, _ in content} - {"./"}
    for member, _ in content:
        member.filename, member.compress_type = top + member.filename, compression
    content += [(zipfile.ZipInfo(top + folder), b"") for folder in ["", *folders] if top + folder]
    before = set(tmp_path.rglob("*"))
    opened = load_bundle(write_zip(tmp_path / "b.zip", content))
    assert opened.manifest == load_bundle(bundle).manifest
    assert [folder.name for folder in cache.iterdir()] == [opened.path.name]
    new = {path for path in set(tmp_path.rglob("*")) - before if not path.is_relative_to(tmp_path / "cache")}
    assert new == {tmp_path / "b.zip"}
    assert not list(tmp_path.parent.glob("manifest.json"))


@pytest.mark.parametrize("harm", ["flip", "cut", "delete", "add"])
def test_a_damaged_copy_is_made_again(packed: Path, harm: str) -> None:
    file = load_bundle(packed).path / "denoiser.onnx"
    data = file.read_bytes()
    if harm == "flip":
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif harm == "cut":
        file.write_bytes(data[:-1])
    elif harm == "delete":
        file.unlink()
    else:
        (file.parent / "extra").touch()
    assert load_bundle(packed).path == file.parent
    assert file.read_bytes() == data


def refuse(path: Path, words: str, cache: Path) -> None:
    with pytest.raises(BundleError, match=words):
        load_bundle(path)
    assert not cache.exists() or not list(cache.iterdir())


def renamed(name: str) -> Callable[[Members], None]:
    return lambda content: content.append((zipfile.ZipInfo(name), b"x"))


def as_symlink(content: Members) -> None:
    index = next(i for i, (member, _) in enumerate(content) if member.filename == "prior.onnx")
    link = zipfile.ZipInfo("prior.onnx")
    link.external_attr, link.create_system = 0o120777 << 16, 3
    content[index] = (link, content[index][1])


def growing(content: Members) -> None:
    """A member of zeros that are listed, compressed to a thousandth."""
    manifest, data = json.loads(content[0][1]), bytes(2**24)
    manifest["files"]["zeros"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    content[0] = (content[0][0], json.dumps(manifest).encode())
    content.append((zipfile.ZipInfo("zeros"), data))
    content[-1][0].compress_type = zipfile.ZIP_DEFLATED


def lower(content: Members) -> None:
    """A manifest in the folder on top, and a file beside that folder."""
    for member, _ in content[:-1]:
        member.filename = f"top/{member.filename}"


def longer(content: Members) -> None:
    content[-1] = (content[-1][0], content[-1][1] + b"x")


def other_bytes(content: Members) -> None:
    content[-1] = (content[-1][0], content[-1][1][:-1] + b"x")


def climbing_manifest(content: Members) -> None:
    manifest = json.loads(content[0][1])
    manifest["files"]["../evil"] = {"size": 1, "sha256": "0" * 64}
    content[0] = (content[0][0], json.dumps(manifest).encode())
    content.append((zipfile.ZipInfo("../evil"), b"x"))


def huge_manifest(content: Members) -> None:
    content[0] = (content[0][0], b" " * (archive.LARGEST_MANIFEST + 1))


ATTACKS: dict[str, tuple[Callable[[Members], None], str]] = {
    "climbs out": (renamed("../evil"), "does not list"),
    "climbs out, listed": (climbing_manifest, "leaves the bundle"),
    "absolute": (renamed("/tmp/evil"), "does not list"),
    "backslash": (renamed("..\\evil"), "does not list"),
    "folder": (renamed("golden/"), "does not list"),
    "symlink": (as_symlink, "not a plain file"),
    "growing": (growing, "grow more than 100 times"),
    "two on top": (lower, "no manifest.json at its top"),
    "huge manifest": (huge_manifest, "no manifest needs"),
    "larger than listed": (longer, "bytes instead of"),
    "other bytes": (other_bytes, "damaged"),
    "missing": (lambda content: content.pop() and None, "lacks"),
    "no manifest": (lambda content: content.pop(0) and None, r"has no manifest\.json"),
}


@pytest.mark.parametrize(("change", "words"), ATTACKS.values(), ids=ATTACKS.keys())
def test_a_file_that_pack_would_not_write_is_refused(
    bundle: Path, tmp_path: Path, cache: Path, change: Callable[[Members], None], words: str
) -> None:
    content = members(bundle)
    change(content)
    refuse(write_zip(tmp_path / "bad.zip", content), words, cache)
    assert not (tmp_path / "evil").exists()


@pytest.fixture
def with_engine(bundle: Path, tmp_path: Path) -> Path:
    path = shutil.copytree(bundle, tmp_path / "with")
    add_engine(path)
    return path


def test_engines_come_along(with_engine: Path, tmp_path: Path) -> None:
    (name,) = stored_engines(load_bundle(with_engine))
    engine = stored_engines(load_bundle(write_zip(tmp_path / "b.zip", members(with_engine))))[name]
    assert engine.record == read_engine(with_engine / "engines" / name).record
    assert engine_damage(engine) is None


def replaced(content: Members, ending: str, change: Callable[[bytes], bytes]) -> None:
    index = next(i for i, (member, _) in enumerate(content) if member.filename.endswith(ending))
    content[index] = (content[index][0], change(content[index][1]))


ENGINE_ATTACKS: dict[str, tuple[Callable[[Members], None], str]] = {
    "longer": (lambda c: replaced(c, "prior.engine", lambda data: data + b"x"), "601 bytes instead of 600"),
    "other bytes": (lambda c: replaced(c, "prior.engine", lambda data: data[:-1] + b"x"), "prior.engine is damaged"),
    "no record": (lambda c: c.pop(next(i for i, m in enumerate(c) if "record" in m[0].filename)) and None, "not list"),
    "no engine": (lambda c: c.pop(next(i for i, m in enumerate(c) if "engine" in m[0].filename)) and None, "lacks"),
    "record of nothing": (lambda c: replaced(c, "record.json", lambda data: b"{}"), "record of an engine"),
    "other version": (
        lambda c: replaced(c, "record.json", lambda d: d.replace(b'"format_version": 1', b'"format_version": 9')),
        "version 9",
    ),
    "huge record": (lambda c: replaced(c, "record.json", lambda data: b" " * (2**24 + 1)), "no record needs"),
    "path in record": (lambda c: replaced(c, "record.json", lambda d: d.replace(b"prior.eng", b"../../e")), "record"),
    "unlisted": (renamed("engines/x/more.engine"), "does not list"),
    "climbs": (renamed("engines/../record.json"), "does not list"),
    "scratch": (renamed("engines/.x.tmp/record.json"), "does not list"),
    "other key": (
        lambda c: replaced(c, "record.json", lambda d: d.replace(b'"precision": "fp16"', b'"precision": "fp32"')),
        "not that of the folder's name",
    ),
}


@pytest.mark.parametrize(("change", "words"), ENGINE_ATTACKS.values(), ids=ENGINE_ATTACKS.keys())
def test_an_engine_that_pack_would_not_write_is_refused(
    with_engine: Path, tmp_path: Path, cache: Path, change: Callable[[Members], None], words: str
) -> None:
    content = members(with_engine)
    change(content)
    refuse(write_zip(tmp_path / "bad.zip", content), words, cache)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_repeated_member_is_refused(bundle: Path, tmp_path: Path, cache: Path) -> None:
    content = members(bundle)
    refuse(write_zip(tmp_path / "bad.zip", [*content, content[-1]]), "twice", cache)


def test_sizes_that_do_not_fit_in_the_file_are_refused(packed: Path, tmp_path: Path, cache: Path) -> None:
    """A central directory that claims more stored bytes than the file has."""
    data, size = bytearray(packed.read_bytes()), 2**31
    with zipfile.ZipFile(packed) as file:
        manifest = json.loads(file.read("manifest.json"))
        actual = file.getinfo("denoiser.onnx").file_size
    manifest["files"]["denoiser.onnx"]["size"] = size
    entry = data.index(b"denoiser.onnx", data.rindex(b"manifest.json")) - 46
    assert struct.unpack_from("<LL", data, entry + 20) == (actual, actual)
    struct.pack_into("<LL", data, entry + 20, size, size)
    packed.write_bytes(data)
    with zipfile.ZipFile(packed) as file:
        sizes = {name: entry["size"] for name, entry in manifest["files"].items()}
        sizes["manifest.json"] = file.getinfo("manifest.json").file_size
        with pytest.raises(BundleError, match="smaller than what it claims"):
            archive._check_members(file, "", sizes, packed)
    refuse(packed, "bytes instead of", cache)


@pytest.mark.parametrize("length", [0, 1, 22, 1000, -1, -30])
def test_a_cut_file_is_refused(packed: Path, cache: Path, length: int) -> None:
    packed.write_bytes(packed.read_bytes()[:length])
    refuse(packed, "not a bundle|damaged", cache)


def test_any_flipped_byte_is_refused_or_harmless(bundle: Path, packed: Path, cache: Path) -> None:
    data, whole = packed.read_bytes(), load_bundle(bundle).manifest
    step = max(1, len(data) // 150)
    for position in [*range(0, len(data), step), *range(len(data) - 400, len(data), 7)]:
        packed.write_bytes(data[:position] + bytes([data[position] ^ 0x41]) + data[position + 1 :])
        try:
            assert load_bundle(packed).manifest == whole
        except BundleError:
            assert not list(cache.glob(".unpack*"))
        shutil.rmtree(cache, ignore_errors=True)


def test_a_cache_that_cannot_be_written_is_named(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BundleError, match="XDG_CACHE_HOME"):
        load_bundle(packed)


def test_a_relative_cache_home_is_ignored_as_the_standard_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert cache_folder("bundles") == Path.home() / ".cache" / "shadowdiffusion" / "bundles"
