"""A bundle whose engines are looked for in a cache of the test's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.bundle.opening import load_bundle


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "shadowdiffusion"


@pytest.fixture
def opened(bundle: Path, tmp_path: Path) -> Bundle:
    return load_bundle(shutil.copytree(bundle, tmp_path / "b"))
