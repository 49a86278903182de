from __future__ import annotations

import warnings
from pathlib import Path
from threading import Lock
from typing import Any, cast

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from shadowdiffusion import runtime
from shadowdiffusion.runtime.backends.failures import is_out_of_memory
from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks
from shadowdiffusion.runtime.batch.turns import OneAtATime
from shadowdiffusion.runtime.bundle.folder import Bundle, Step
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.errors import OutOfMemoryError, RestoreError
from shadowdiffusion.runtime.loop import tiled_loop as native
from shadowdiffusion.runtime.loop import tiles
from shadowdiffusion.runtime.loop.host_loop import HostLoop
from shadowdiffusion.runtime.loop.loop import Working
from shadowdiffusion.runtime.loop.networks import Networks, Sizes, Used
from shadowdiffusion.runtime.loop.tiled_loop import Choice, fitting, halved, network_bytes
from shadowdiffusion.runtime.restorer import Restorer
from tests.runtime.tiny import MULTIPLE, picture

Array = np.ndarray[Any, Any]


class Confined:
    """Networks with only so much memory, which they report like a GPU: when it is too late."""

    def __init__(self, networks: Networks, most: int, sizes: Sizes | None = None) -> None:
        self.title, self.sizes, self.on_host = "confined", sizes, False
        self.networks, self.most, self.used = networks, most, Used("confined", None, "fp32", "cuda")
        self.sizes_seen = list[tuple[int, int]]()

    def _check(self, array: Array) -> None:
        height, width = array.shape[2:]
        self.sizes_seen.append((height, width))
        if height * width > self.most:
            raise OutOfMemoryError(f"{height * width} pixels are too many")

    def prior(self, image: Array, mask: Array) -> tuple[Array, Array]:
        self._check(image)
        return self.networks.prior(image, mask)

    def denoise(self, y: Array, mask: Array, x_t: Array, step: Step, with_mask: bool) -> tuple[Array, Array | None]:
        self._check(y)
        return self.networks.denoise(y, mask, x_t, step, with_mask)


@pytest.fixture(scope="module")
def opened(bundle: Path) -> Bundle:
    return load_bundle(bundle)


@pytest.fixture(scope="module")
def portable(opened: Bundle) -> OnnxRuntimeNetworks:
    return OnnxRuntimeNetworks(opened, "cpu", 1)


def confined(opened: Bundle, portable: Networks, most: int, sizes: Sizes | None = None) -> tuple[Restorer, Confined]:
    networks = Confined(portable, most, sizes)
    return Restorer(opened, HostLoop(opened, networks)), networks


def test_native_is_quiet_and_exact_where_there_is_room(restorer: runtime.Restorer) -> None:
    photo = picture(150, 260)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = restorer(photo, native=True)
    assert np.array_equal(result.image, restorer(photo, working_size=260).image)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (1, 300), (300, 1), (3, 200)])
@pytest.mark.parametrize("channels", [1, 3])
def test_native_takes_photos_of_any_shape(restorer: runtime.Restorer, size: tuple[int, int], channels: int) -> None:
    photo = picture(*size, channels=channels)
    result = restorer(photo, native=True)
    assert result.image.shape == photo.shape
    assert result.illumination.shape == (*size, 3)


def test_running_out_of_memory_halves_the_tile_until_it_fits(
    opened: Bundle, portable: Networks, restorer: runtime.Restorer
) -> None:
    photo = picture(300, 520)
    tight, networks = confined(opened, portable, 200 * 200)
    with pytest.warns(UserWarning, match=r"memory ran out \(") as noted:
        result = tight(photo, native=True)
    grids = [str(note.message).split(" is run on ")[1].split(",")[0] for note in noted]
    assert grids == ["2x1 overlapping tiles of 296x304 pixels", "2x2 overlapping tiles of 296x184 pixels", LAST]
    assert all(str(note.message).startswith("native size 520x304 is run on ") for note in noted)
    assert networks.sizes_seen[-1] == result.tile == (184, 184)
    assert np.abs(result.image.astype(int) - restorer(photo, native=True).image).max() <= 1


LAST = "4x2 overlapping tiles of 184x184 pixels"


def test_the_next_photo_of_a_size_begins_with_the_tile_that_worked(opened: Bundle, portable: Networks) -> None:
    photo = picture(300, 520)
    tight, networks = confined(opened, portable, 200 * 200)
    with pytest.warns(UserWarning, match="overlapping tiles"):
        first = tight(photo, native=True)
    networks.sizes_seen.clear()
    with pytest.warns(UserWarning, match="overlapping tiles"):
        second = tight(photo, native=True)
    assert set(networks.sizes_seen) == {(184, 184)}
    assert np.array_equal(first.image, second.image)


def test_memory_that_is_not_even_enough_for_small_tiles_is_an_error(opened: Bundle, portable: Networks) -> None:
    tight, networks = confined(opened, portable, 1000)
    failure = pytest.raises(OutOfMemoryError, match=r"tiles of 128x128 pixels: leave out native.*16384 pixels are too")
    with failure as caught, pytest.warns(UserWarning, match="overlapping tiles"):
        tight(picture(300, 520), native=True)
    assert "\n" not in str(caught.value)
    assert networks.sizes_seen[-1] == (128, 128)


def test_only_native_is_tiled(opened: Bundle, portable: Networks) -> None:
    tight, _ = confined(opened, portable, 200 * 200)
    with pytest.raises(OutOfMemoryError, match="too many"):
        tight(picture(300, 520), working_size=520)


def test_tiles_fit_the_profile_of_an_engine(opened: Bundle, portable: Networks, restorer: runtime.Restorer) -> None:
    photo = picture(300, 520)
    engine, networks = confined(opened, portable, 1 << 30, sizes=((256, 320), (256, 384)))
    with pytest.warns(UserWarning, match=r"2x2 overlapping tiles of 384x256 .*: confined takes 384x256 at most$"):
        result = engine(photo, native=True)
    assert set(networks.sizes_seen) == {(256, 384)}
    assert np.abs(result.image.astype(int) - restorer(photo, native=True).image).max() <= 1


def test_tiles_do_not_become_smaller_than_an_engine_takes(opened: Bundle, portable: Networks) -> None:
    engine, networks = confined(opened, portable, 1000, sizes=((256, 320), (256, 384)))
    failure = pytest.raises(OutOfMemoryError, match="even with tiles of 320x256")
    with failure, pytest.warns(UserWarning, match="384x256 at most"):
        engine(picture(300, 520), native=True)
    assert networks.sizes_seen == [(256, 384), (256, 320)]


def test_what_is_too_small_for_an_engine_is_left_to_the_loop(opened: Bundle, portable: Networks) -> None:
    engine, networks = confined(opened, portable, 1 << 30, sizes=((64, 64), (256, 256)))
    result = engine(picture(40, 520), native=True)
    assert result.tile is None
    assert set(networks.sizes_seen) == {(40, 520)}


def test_tiles_stay_within_what_wraps_the_loop(opened: Bundle, portable: Networks) -> None:
    """Photos side by side never meet in the networks, whatever their tiles: each holds the turn from start to end."""
    turn, wrapped = Lock(), list[tuple[int, ...]]()

    class Wrap(OneAtATime):
        def restore(self, images: Array, *arguments: Any, **options: Any) -> Working:
            result = super().restore(images, *arguments, **options)
            wrapped.append(images.shape[2:])
            return result

    class Watched(Confined):
        def _check(self, array: Array) -> None:
            assert turn.locked()
            super()._check(array)

    plain = Restorer(opened, HostLoop(opened, Watched(portable, 200 * 200)))
    restorer = plain.through(lambda loop: Wrap(loop, turn))
    with pytest.warns(UserWarning, match="overlapping tiles"):
        assert restorer(picture(300, 520), native=True).tile == (184, 184)
    restorer(picture(90, 90))
    assert wrapped == [(300, 520), (48, 48)]
    assert not turn.locked()


@pytest.mark.parametrize(
    ("whole", "room", "tile"),
    [
        ((1024, 2048), 1.1, (1024, 2048)),
        ((1024, 2048), 0.99, (1024, 1056)),
        ((1024, 2048), 0.5, (1024, 560)),
        ((1024, 2048), 0.1, (544, 312)),
        ((256, 8192), 0.25, (256, 1080)),
        ((8192, 64), 0.3, (2096, 64)),
        ((1024, 2048), 1e-4, (128, 128)),
    ],
)
def test_tiles_on_a_cpu_are_as_large_as_memory_allows(
    opened: Bundle, portable: Networks, whole: tuple[int, int], room: float, tile: tuple[int, int]
) -> None:
    model, pixels = opened.manifest.model, whole[0] * whole[1]
    free = (native.LOOP_BYTES + room * network_bytes(model)) * pixels / native.SHARE
    choice = fitting(Choice(whole, ""), whole, int(free) + 1, model, portable)
    assert choice.tile == tile
    assert all(length % MULTIPLE == 0 for length in choice.tile)
    assert bool(choice.reason) == (tile != whole)
    assert fitting(Choice(whole, ""), whole, None, model, portable) == Choice(whole, "")


def test_short_memory_is_told_with_figures(restorer: runtime.Restorer, monkeypatch: pytest.MonkeyPatch) -> None:
    model, photo = restorer.bundle.manifest.model, picture(600, 600)
    free = int((native.LOOP_BYTES + 0.6 * network_bytes(model)) * 600 * 600 / native.SHARE)
    monkeypatch.setattr(native, "available_memory", lambda: free)
    fresh = Restorer(restorer.bundle, restorer.loop)
    words = r"native size 600x600 is run on 1x2 .* tiles of 600x336 .*: 600x600 needs 0\.\d GiB of memory, 0\.\d are"
    with pytest.warns(UserWarning, match=words):
        result = fresh(photo, native=True)
    assert result.tile == (336, 600)
    assert np.abs(result.image.astype(int) - restorer(photo, working_size=600).image).max() <= 1


def test_what_networks_keep_counts_as_free(restorer: runtime.Restorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the second photo of a run would get smaller tiles than the first."""
    model, pixels = restorer.bundle.manifest.model, 600 * 600
    need = int((native.LOOP_BYTES + network_bytes(model)) * pixels / native.SHARE) + 1
    kept = int(0.9 * network_bytes(model) * pixels)
    own, free = [10 * native.GIB], [need]
    monkeypatch.setattr(native, "own_memory", lambda: own[0])
    monkeypatch.setattr(native, "available_memory", lambda: free[0])

    class Keeping(HostLoop):
        def restore(self, *arguments: Any, **options: Any) -> Working:
            found = super().restore(*arguments, **options)
            own[0], free[0] = 10 * native.GIB + kept + 40 * pixels, need - kept
            return found

    fresh = Restorer(restorer.bundle, Keeping(restorer.bundle, restorer.loop.networks))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fresh(picture(600, 600), native=True)
        fresh(picture(600, 600), native=True)


def test_without_room_for_the_loop_itself_figures_are_given(
    restorer: runtime.Restorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "available_memory", lambda: 1000)
    fresh = Restorer(restorer.bundle, restorer.loop)
    with pytest.raises(OutOfMemoryError, match=r"520x304 pixels do not fit into memory \(0.1 GiB are needed, 0.0 are"):
        fresh(picture(300, 520), native=True)


def test_no_memory_for_arrays_is_one_line(opened: Bundle, portable: Networks) -> None:
    class Full(HostLoop):
        def restore(self, *arguments: Any, **options: Any) -> Working:
            raise MemoryError

    with pytest.raises(OutOfMemoryError, match="64x40 pixels do not fit into memory: leave out native"):
        Restorer(opened, Full(opened, portable))(picture(40, 60), native=True)


@given(
    whole=st.tuples(*2 * [st.integers(1, 600).map(lambda eighths: 8 * eighths)]),
    sizes=st.none() | st.tuples(*2 * [st.integers(16, 60).map(lambda n: 8 * n)]).map(lambda low: (low, (512, 768))),
)
def test_halving_ends_and_keeps_to_all_limits(whole: tuple[int, int], sizes: Sizes | None) -> None:
    networks = Confined(cast(Networks, None), 0, sizes)
    tile, steps = whole, 0
    while (smaller := halved(tile, whole, 8, networks)) != tile:
        assert smaller[0] * smaller[1] < tile[0] * tile[1]
        axis = 0 if smaller[0] != tile[0] else 1
        assert smaller[1 - axis] == tile[1 - axis] <= tile[axis]
        assert smaller[axis] <= tile[axis] / 2 + tiles.OVERLAP or smaller[axis] == max(
            128, (sizes or [(0, 0)])[0][axis]
        )
        assert smaller[axis] % 8 == 0
        tile, steps = smaller, steps + 1
        assert steps < 20
    if sizes is None:
        assert max(tile) <= max(128, 2 * tiles.OVERLAP + 8)
        assert all(length >= min(128, own) for length, own in zip(tile, whole, strict=True))
    else:
        assert all(length >= min(low, own) for length, low, own in zip(tile, sizes[0], whole, strict=True))


def test_onnx_runtime_running_out_of_memory_is_told_from_other_failures(tmp_path: Path) -> None:
    import onnxruntime

    shape = helper.make_tensor_value_info("shape", TensorProto.INT64, [2])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["h", "w"])
    graph = helper.make_graph([helper.make_node("ConstantOfShape", ["shape"], ["out"])], "huge", [shape], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, str(tmp_path / "huge.onnx"))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(tmp_path / "huge.onnx"), options, providers=["CPUExecutionProvider"])
    with pytest.raises(Exception, match="alloc") as caught:
        session.run(None, {"shape": np.array([1 << 24, 1 << 24], np.int64)})
    assert is_out_of_memory(caught.value)
    with pytest.raises(Exception, match="data type") as caught:
        session.run(None, {"shape": np.array([1.0], np.float32)})
    assert not is_out_of_memory(caught.value)


def test_networks_say_where_their_memory_is(portable: OnnxRuntimeNetworks) -> None:
    assert portable.on_host
    assert portable.sizes is None


def test_out_of_memory_is_an_error_as_any_other() -> None:
    assert issubclass(OutOfMemoryError, RestoreError)
