"""Rules for every test: few threads per worker, and `gpu` tests skip with a reason where no device is."""

from __future__ import annotations

import os

import pytest

import runtime  # noqa: F401  before ONNX Runtime, whose telemetry it switches off

# Tests run in parallel processes: with one thread per core in each they would trip over each other.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "VIPS_CONCURRENCY"):
    os.environ.setdefault(_name, "1")


def _cuda_missing() -> str | None:
    """Why no CUDA device can be used, None if one can."""
    try:
        import torch
    except ImportError:
        return "PyTorch is not installed"
    return None if torch.cuda.is_available() else "no CUDA device"


# Triton decides between its interpreter and its compiler when it is first imported, whoever imports it.
if _cuda_missing():
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    reason = _cuda_missing() if gpu_items else None
    if reason:
        for item in gpu_items:
            item.add_marker(pytest.mark.skip(reason=f"needs a CUDA device: {reason}"))
