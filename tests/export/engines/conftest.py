"""One step by default, short races, and tolerances that networks of random weights can meet."""

from __future__ import annotations

import pytest

from shadowdiffusion.export.engines import race
from shadowdiffusion.runtime.bundle.folder import Bundle


@pytest.fixture(scope="session")
def bundle(quick: Bundle) -> Bundle:
    return quick


@pytest.fixture(autouse=True)
def short_races(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few rounds, which other programs may disturb: what is tested is decided by large differences."""
    for name, value in (("MOST", 7), ("PAUSE", 0.01), ("SPREAD", float("inf"))):
        monkeypatch.setattr(race, name, value)


@pytest.fixture(autouse=True)
def tolerances(only_photos_count: None) -> None:
    """For every test here."""
