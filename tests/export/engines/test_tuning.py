"""What the tuner keeps: passes that compute the same in clearly less time, measured for real on graphs with waste."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest

from shadowdiffusion.export.commands.console import quiet_bar
from shadowdiffusion.export.engines.tuning import Course, Tuned, choose_settings, tune
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes.catalog import Pass
from shadowdiffusion.runtime.bundle.engines import SessionSettings
from tests.export.engines.wasteful import WASTE, add_waste, engine_pass, less_waste, small_network

ONE_THREAD = SessionSettings(1, True, {})
LEAN, HALF = engine_pass("lean", less_waste(0)), engine_pass("half", less_waste(2))
WRONG = engine_pass("wrong", less_waste(0, scale=1.001))
UNCHANGED = engine_pass("unchanged", less_waste(4))


@pytest.fixture(scope="module")
def wasteful() -> onnx.ModelProto:
    return add_waste(small_network(), 4)


@pytest.fixture(scope="module")
def course(wasteful: onnx.ModelProto) -> Course:
    rng = np.random.default_rng(2)
    feeds = [{"x_t": rng.standard_normal((1, 3, *size)).astype(np.float32)} for size in ((8, 12), (32, 48))]
    return Course("denoiser.onnx", wasteful, ["noise"], feeds[1], feeds)


def tuned(
    course: Course,
    passes: Sequence[Pass],
    said: list[str] | None = None,
    model: onnx.ModelProto | None = None,
    **on: bool,
) -> Tuned:
    report = (said if said is not None else []).append
    return tune(model or course.truth, course, passes, on, "cpu", ONE_THREAD, report, quiet_bar)


def waste(result: Tuned) -> int:
    return sum(node.op_type == "Conv" and node.name.startswith(WASTE) for node in result.model.graph.node)


def test_a_pass_that_saves_most_of_the_work_is_kept_with_its_figures(course: Course) -> None:
    result = tuned(course, [UNCHANGED, LEAN])
    assert waste(result) == 0
    (note,) = result.notes
    assert (note.name, note.exactness) == ("lean", "exact")
    assert "of the time" in note.detail
    assert "relative difference from float32" in note.detail


def test_of_two_that_exclude_each_other_the_faster_is_kept(course: Course) -> None:
    result = tuned(course, [HALF, LEAN])
    assert (waste(result), [note.name for note in result.notes]) == (0, ["lean"])


def test_a_pass_that_makes_it_slower_is_not_kept(course: Course) -> None:
    said: list[str] = []
    result = tuned(course, [engine_pass("more", less_waste(8))], said)
    assert (waste(result), result.notes) == (4, [])
    assert any("more" in line and "of the time" in line for line in said)


def test_a_fast_pass_that_changes_the_result_is_refused(course: Course) -> None:
    said: list[str] = []
    result = tuned(course, [WRONG], said)
    assert (waste(result), result.notes) == (4, [])
    assert said == [
        "wrong is refused for denoiser.onnx: relative difference from float32 1.0e-03, at most 1.0e-05 is allowed"
    ]


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_nothing_that_is_not_finite_gets_through(course: Course, scale: float) -> None:
    said: list[str] = []
    assert not tuned(course, [engine_pass("broken", less_waste(0, scale))], said).notes
    assert "broken is refused" in said[0]


def test_a_graph_that_cannot_run_is_refused(course: Course) -> None:
    def mistake(model: onnx.ModelProto) -> onnx.ModelProto:
        result = onnx.ModelProto()
        result.CopyFrom(model)
        result.graph.node[0].input[0] = "nobody"
        return result

    said: list[str] = []
    assert not tuned(course, [engine_pass("mistake", mistake)], said).notes
    assert "mistake is refused for denoiser.onnx: ONNX Runtime cannot run it" in said[0]


def test_switches_win_over_measurement(course: Course) -> None:
    more = engine_pass("more", less_waste(6))
    assert waste(tuned(course, [LEAN], lean=False)) == 4
    result = tuned(course, [more], more=True)
    assert (waste(result), [note.detail.split(", ")[0] for note in result.notes]) == (6, ["denoiser.onnx: asked for"])


def test_no_switch_makes_a_wrong_pass_right(course: Course) -> None:
    with pytest.raises(ExportError, match=r"wrong is wrong for denoiser.onnx: .* 1.0e-03, .*; leave out --with"):
        tuned(course, [WRONG], wrong=True)


def test_low_precision_may_stay_as_far_from_float32_as_it_was(course: Course) -> None:
    """The graph is off by 2e-3, as int8 would be: a pass may leave it there, not make it worse."""
    off = less_waste(3, scale=1.002)(course.truth)
    assert waste(tuned(course, [LEAN], model=off)) == 0
    assert waste(tuned(course, [engine_pass("worse", less_waste(0, scale=1.001))], model=off)) == 3


def test_given_threads_are_kept(course: Course) -> None:
    said: list[str] = []
    settings = choose_settings(course.truth, course, "cpu", 2, said.append, quiet_bar).settings
    assert settings.threads == 2
    assert "sleeping threads" in said[0]
    assert choose_settings(course.truth, course, "cpu", 1, said.append, quiet_bar).settings == ONE_THREAD
