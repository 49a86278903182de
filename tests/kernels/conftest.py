"""Kernels run in Triton's interpreter, or compiled where there is a CUDA device.

Triton decides between the two when it is imported (see `tests/conftest.py`), so a process can do only one of them: the
`device` fixture runs each test once, on whichever it is (`TRITON_INTERPRET=1` interprets beside a GPU too).
Compiling ahead of time happens in processes of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") not in ("", "0")


@pytest.fixture(
    params=["interpreter"]
    if INTERPRETED
    else [pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.xdist_group("cuda")])]
)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where tensors live: on the CPU for the interpreter, else on the GPU."""
    return torch.device("cuda" if request.param == "cuda" else "cpu")


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """New memory holds NaN or the largest integer, a launcher's own too: what a kernel fails to write shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)
