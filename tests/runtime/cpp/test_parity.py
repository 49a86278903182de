"""The C++ library makes the same pictures as the Python runtime, of real photos, to 80 dB and more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from msgspec.structs import replace

from shadowdiffusion import runtime
from shadowdiffusion.export.engines import cpu_kernels as backend
from shadowdiffusion.export.engines.build import build_engines
from shadowdiffusion.export.engines.key import EngineOptions
from shadowdiffusion.runtime.bundle.folder import MANIFEST, Illumination, Task, write_manifest
from shadowdiffusion.runtime.bundle.opening import built_in, load_bundle
from shadowdiffusion.runtime.errors import RestoreError
from shadowdiffusion.runtime.photo import read_photo
from tests import cpu_kernels
from tests.runtime.cpp.library import CppError, Library, Restorer

pytestmark = pytest.mark.xdist_group("cpp")

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "docs" / "example"
PHOTOS = sorted((ROOT / "tests" / "data" / "photos").rglob("*.jpg"))
TASKS: tuple[Task, ...] = ("shadow", "low-light", "exposure")
BACKENDS = ("openvino", "onnxruntime")
WHOLE = {"uint8": 255, "uint16": 65535, "float32": 1}
LEAST = 80.0
"""dB. Rounding to 8 bits alone takes a few pixels in 100,000 to another value, which is about 95 dB."""

Pixels = npt.NDArray[Any]
Pair = tuple[runtime.Restorer, Restorer]


@contextmanager
def opened(library: Library, task: Task, backend: str) -> Iterator[Pair]:
    try:
        cpp = Restorer(library, task=task, threads=2, backend=backend)
    except CppError as error:
        if "is unknown here" not in str(error):
            raise
        pytest.skip(f"{backend} was not built in: set ONNXRUNTIME_INCLUDE_DIR to the folder of its header")
    yield runtime.load(built_in(task), "portable", "cpu", 2), cpp
    cpp.close()


@pytest.fixture(scope="module", params=BACKENDS)
def pair(request: pytest.FixtureRequest, library: Library) -> Iterator[Pair]:
    """The built-in bundle for shadows in both runtimes."""
    with opened(library, "shadow", request.param) as both:
        yield both


def psnr(a: Pixels, b: Pixels) -> float:
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    whole = WHOLE[a.dtype.name]
    error = float(np.mean((a.astype(np.float64) / whole - b.astype(np.float64) / whole) ** 2))
    return 200.0 if error == 0 else min(200.0, -10 * np.log10(error))


def compare(pair: Pair, photo: Pixels, mask: Pixels | None = None, **options: Any) -> None:
    expected = pair[0](photo, mask, with_prior=True, **options)
    found = pair[1](photo, mask, **options)
    assert expected.mask is not None
    assert expected.prior is not None
    figures = {
        "image": psnr(found.image, expected.image),
        "prior": psnr(found.prior, expected.prior),
        "mask": psnr(found.mask, expected.mask),
        "illumination": psnr(found.illumination, expected.illumination),
    }
    assert min(figures.values()) >= LEAST, figures


@pytest.fixture(scope="module")
def example() -> Pixels:
    return read_photo(EXAMPLE / "shadow.jpg").pixels


@pytest.fixture(scope="module")
def mask() -> Pixels:
    return read_photo(EXAMPLE / "shadow.mask.png").pixels


@pytest.mark.parametrize(
    ("photo", "steps", "seed"), list(zip(PHOTOS, (1, 2, 1, 2, 1, 2), (0, 1, 2**32, 2**64 - 1, 5, 6), strict=True))
)
def test_photos(pair: Pair, photo: Path, steps: int, seed: int) -> None:
    compare(pair, read_photo(photo).pixels, steps=steps, seed=seed)


def test_a_mask(pair: Pair, example: Pixels, mask: Pixels) -> None:
    compare(pair, example, mask, steps=5, seed=7)


def test_a_mask_and_part_of_the_strength(pair: Pair, example: Pixels, mask: Pixels) -> None:
    compare(pair, example, mask, strength=0.6, working_size=200)


@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_finer_types(pair: Pair, example: Pixels, kind: str) -> None:
    values = np.random.default_rng(0).uniform(0, 1 / 256, example.shape) + example / 257
    fine = (values * 65535).astype(np.uint16) if kind == "uint16" else values.astype(np.float32)
    compare(pair, np.ascontiguousarray(fine[::2, ::2]), working_size=128)


@pytest.mark.parametrize(
    ("height", "width", "size"), [(1, 1, 384), (1, 300, 40), (9, 5, 384), (301, 377, 113), (17, 64, 33)]
)
def test_odd_sizes(pair: Pair, example: Pixels, height: int, width: int, size: int) -> None:
    part = np.ascontiguousarray(example[100 : 100 + height, :width])
    compare(pair, part, working_size=size)


def test_grey(pair: Pair, example: Pixels) -> None:
    compare(pair, np.ascontiguousarray(example[:200, :, 1]))


def test_native_size(pair: Pair, example: Pixels) -> None:
    compare(pair, np.ascontiguousarray(example[100:260, 100:277]), native=True)


def test_a_photo_much_larger_than_the_working_size(pair: Pair, example: Pixels) -> None:
    large = np.ascontiguousarray(example.repeat(3, axis=0).repeat(3, axis=1)[:1501, :1003])
    compare(pair, large, working_size=96)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("task", TASKS)
def test_every_task(library: Library, task: Task, backend: str, example: Pixels, mask: Pixels) -> None:
    with opened(library, task, backend) as pair:
        assert pair[1].check() > 100
        compare(pair, example, mask, steps=2, seed=3)


@pytest.mark.parametrize(
    "options", [{"steps": 7}, {"strength": 1.5}, {"working_size": 5, "native": True}], ids=lambda options: str(options)
)
def test_refusals_are_in_the_same_words(pair: Pair, example: Pixels, options: dict[str, Any]) -> None:
    with pytest.raises(RestoreError) as expected:
        pair[0](example, **options)
    with pytest.raises(CppError) as found:
        pair[1](example, **options)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_authors_degradation_form(
    library: Library, backend: str, example: Pixels, mask: Pixels, tmp_path: Path
) -> None:
    """On a photo that is nearly black in one half, where the usual form gives something else."""
    path = Path(shutil.copytree(built_in("shadow"), tmp_path / "authors"))
    manifest = load_bundle(path).manifest
    form = Illumination(5e-5, 0.0, 1e5, 0.0)
    write_manifest(path, replace(manifest, model=replace(manifest.model, illumination=form)))
    dark = example.copy()
    dark[:, : example.shape[1] // 2] //= 64
    try:
        native = Restorer(library, path, threads=2, backend=backend)
    except CppError as error:
        if "is unknown here" not in str(error):
            raise
        pytest.skip(f"{backend} was not built in")
    ours = runtime.load(path, "portable", "cpu", 2)
    compare((ours, native), dark, mask, steps=2)
    native.close()
    raw = msgspec.json.decode((path / MANIFEST).read_bytes())
    raw["sampling"]["tables"]["2"][1]["rho"] = 0
    (path / MANIFEST).write_bytes(msgspec.json.encode(raw))
    with pytest.raises(CppError, match="an illumination floor of 0 needs rho above 0 at every step"):
        Restorer(library, path, threads=2, backend=backend)
    usual = runtime.load(built_in("shadow"), "portable", "cpu", 2)
    assert psnr(usual(dark, mask, steps=2).image, ours(dark, mask, steps=2).image) < LEAST


def test_an_engine_of_our_cpu_kernels(
    library: Library, example: Pixels, mask: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu_kernels.use(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(backend, "race", cpu_kernels.race_won_by("plan"))
    path = shutil.copytree(built_in("shadow"), tmp_path / "bundle")
    with pytest.raises(CppError, match="no engine"):
        Restorer(library, path, threads=2, backend="cpu-kernels")
    engine = build_engines(path, EngineOptions("cpu-kernels"), lambda line: None).engine
    cpp, python = Restorer(library, path, threads=2, backend="cpu-kernels"), runtime.load(path, "portable", "cpu", 2)
    for steps in (1, 5):
        compare((python, cpp), example, steps=steps)
    compare((python, cpp), example, mask)
    cpp.close()
    compiled = tmp_path / "cache" / "shadowdiffusion" / "openvino"  # where it opened graphs for the check
    if compiled.exists():
        shutil.rmtree(compiled)
        cpp = Restorer(library, path, threads=2, backend="cpu-kernels")
        cpp(example)
        cpp.close()
        assert not compiled.exists(), "graphs are opened that the engine has plans of"
    plan = engine.path / "denoiser.plan"
    plan.write_bytes(plan.read_bytes()[:-1])
    with pytest.raises(CppError, match=r"denoiser\.plan"):
        Restorer(library, path, threads=2, backend="cpu-kernels")


def test_damaged_bundles_are_refused_in_the_same_words(library: Library, tmp_path: Path) -> None:
    with pytest.raises(CppError, match=r"absent does not exist: name a folder that holds a manifest\.json"):
        Restorer(library, tmp_path / "absent")
    (tmp_path / "manifest.json").write_text('{"format_version": 9}')
    with pytest.raises(RestoreError) as expected:
        runtime.load(tmp_path)
    with pytest.raises(CppError) as found:
        Restorer(library, tmp_path)
    assert str(found.value) == str(expected.value)


def test_the_callback_cancels(library: Library, example: Pixels) -> None:
    seen: list[tuple[int, int]] = []

    def stop(done: int, steps: int) -> bool:
        seen.append((done, steps))
        return done < 2

    restorer = Restorer(library, threads=2)
    with pytest.raises(CppError) as found:
        restorer(example, steps=5, working_size=64, progress=stop)
    assert found.value.status == 5
    assert seen == [(1, 5), (2, 5)]
    restorer.close()
