"""One step by default, and tolerances that networks of random weights can meet."""

from __future__ import annotations

import pytest

from shadowdiffusion.runtime.bundle.folder import Bundle


@pytest.fixture(scope="session")
def bundle(quick: Bundle) -> Bundle:
    return quick


@pytest.fixture(autouse=True)
def tolerances(only_photos_count: None) -> None:
    """For every test here."""
