"""Bound inputs give what plain ones give, and are uploaded again whenever they are not those of the last step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from shadowdiffusion.runtime.backends.device_inputs import DeviceInputs
from tests.runtime.tiny import write_denoiser


@pytest.fixture
def session(tmp_path: Path) -> Any:
    write_denoiser(tmp_path / "denoiser.onnx")
    return onnxruntime.InferenceSession(tmp_path / "denoiser.onnx", providers=["CPUExecutionProvider"])


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    seen: list[Any] = []
    upload = onnxruntime.OrtValue.ortvalue_from_numpy

    def spy(array: Any, *device: Any) -> Any:
        seen.append(array)
        return upload(array.copy(), *device)  # like a GPU, it does not see what happens to the array afterwards

    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_numpy", spy)
    return seen


def feed(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    images = {
        name: rng.random((1, count, 16, 24), np.float32) for name, count in (("image", 3), ("mask", 1), ("x_t", 3))
    }
    return images | {"t": np.full(1, 10.0 * seed, np.float32)}


def test_a_loop_uploads_image_and_mask_once_and_sees_every_change(session: Any, uploads: list[Any]) -> None:
    inputs, bound = feed(1), DeviceInputs("cpu")
    for step in range(3):
        inputs["x_t"] += step  # the sampler works in place
        inputs["t"] = np.full(1, step, np.float32)
        if step == 2:
            inputs["mask"] = 1 - inputs["mask"]  # a refined one
        found = bound.run(session, ["noise", "shadow"], inputs)
        for output, expected in zip(found, session.run(["noise", "shadow"], inputs), strict=True):
            np.testing.assert_array_equal(output, expected)
    assert len(uploads) == 4 + 2 + 3


def test_another_photo_is_uploaded_whole_even_with_a_mask_array_that_was_used_before(
    session: Any, uploads: list[Any]
) -> None:
    first, second, bound = feed(1), feed(2), DeviceInputs("cpu")
    bound.run(session, ["noise"], first)
    first["mask"][:] = second["mask"]  # between photos, a caller may fill its arrays anew
    inputs = second | {"mask": first["mask"]}
    np.testing.assert_array_equal(bound.run(session, ["noise"], inputs)[0], session.run(["noise"], inputs)[0])
    assert len(uploads) == 8
