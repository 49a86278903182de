"""The tiny bundle that the runtime's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

import runtime
from tests.runtime.tiny import write_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with golden files; copy it before changing anything."""
    return write_bundle(tmp_path_factory.mktemp("bundle") / "tiny", golden=True)


@pytest.fixture(scope="session")
def restorer(bundle: Path) -> runtime.Restorer:
    return runtime.load(bundle, "portable", "cpu", 1)
