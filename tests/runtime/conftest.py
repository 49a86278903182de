"""The tiny bundle that the runtime's tests share, and what tests of permissions need."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shadowdiffusion import runtime
from shadowdiffusion.runtime.backends import tensorrt_networks
from shadowdiffusion.runtime.gpu.cuda import Cuda
from tests.runtime.fake_gpu import Driver
from tests.runtime.fake_tensorrt import TensorRT
from tests.runtime.tiny import write_bundle

NOBODY = 65534


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with golden files; copy it before changing anything."""
    return write_bundle(tmp_path_factory.mktemp("bundle") / "tiny", golden=True)


@pytest.fixture(scope="session")
def restorer(bundle: Path) -> runtime.Restorer:
    return runtime.load(bundle, "portable", "cpu", 1)


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> TensorRT:
    """Both modules of TensorRT, made in Python, on a GPU made in Python."""
    driver = Driver()
    monkeypatch.setattr(tensorrt_networks, "Cuda", lambda: Cuda(driver.load))
    module = TensorRT(driver)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", module.for_rtx())
    return module


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder of a user for whom permissions count, who runs the test: they do not for the superuser."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() != 0:
            yield Path(folder)
            return
        os.chown(folder, NOBODY, -1)
        os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)
