"""The switches of the command line."""

from __future__ import annotations

import pytest

from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes.catalog import PASSES, choose


def test_switches() -> None:
    assert choose(["half-weights"], ["fold"], "export") == {"half-weights": True, "fold": False}
    assert choose([], [], "export") == {}


@pytest.mark.parametrize("stage", ["export", "engine", "tensorrt"])
def test_names_of_another_stage_are_refused_with_the_choice(stage: str) -> None:
    for item in PASSES:
        if item.stage != stage:
            with pytest.raises(ExportError, match=item.name):
                choose([item.name], [], stage)  # type: ignore[arg-type]


def test_a_pass_cannot_be_on_and_off() -> None:
    with pytest.raises(ExportError, match="both"):
        choose(["fold"], ["fold"], "export")


def test_every_pass_says_what_it_is() -> None:
    assert len({item.name for item in PASSES}) == len(PASSES)
    for item in PASSES:
        assert item.summary
        assert (item.apply is not None) == (item.stage != "export")
        if item.exactness == "approximate":
            assert not item.default
