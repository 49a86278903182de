"""Trajectories: the loop of the runtime, and every input that the networks get in it."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import onnx
import pytest

from shadowdiffusion.export.photos import verification_samples
from shadowdiffusion.export.precision.networks import SessionNetworks, session
from shadowdiffusion.export.precision.trajectories import Loop, fewer_steps, loops_of, restore, trajectories
from shadowdiffusion.runtime.bundle.folder import NETWORKS, Bundle
from shadowdiffusion.runtime.bundle.time_table import read_rows
from shadowdiffusion.runtime.selection.loading import load


@pytest.fixture(scope="module")
def five_steps(bundle: Bundle) -> Bundle:
    """Five steps, of which something can be seen."""
    sampling = msgspec.structs.replace(bundle.manifest.sampling, default_steps=5)
    return Bundle(bundle.path, msgspec.structs.replace(bundle.manifest, sampling=sampling))


def networks_of(bundle: Bundle, record: list | None = None) -> SessionNetworks:
    sessions = {name: session(onnx.load_model(bundle.path / name)) for name in NETWORKS}
    return SessionNetworks(sessions, read_rows(bundle), record)


@pytest.mark.parametrize("blind", [False, True])
def test_the_loop_is_that_of_the_runtime(five_steps: Bundle, blind: bool) -> None:
    sample = verification_samples((), 16, side=48)[0]
    found = restore(networks_of(five_steps), five_steps, Loop(sample, blind, seed=4), five_steps.manifest.sampling)
    loop, mask = load(five_steps.path, "portable", "cpu", 1).loop, None if blind else sample.mask
    truth = loop.restore(sample.image, mask, five_steps.table(5), [4], with_mask=True)
    np.testing.assert_allclose(found.image.clip(0, 1), truth.image, atol=1e-5)
    assert truth.mask is not None
    np.testing.assert_allclose(found.refined, truth.mask, atol=1e-5)


def test_every_step_is_recorded(five_steps: Bundle) -> None:
    loops = loops_of(verification_samples((), 16, side=48), five_steps)
    assert [(loop.blind, loop.seed) for loop in loops] == [(False, 0), (True, 0), (False, 1), (True, 1)]
    feeds = trajectories(networks_of(five_steps, []), five_steps, loops, lambda fraction, phase: None)
    steps = five_steps.manifest.sampling.default_steps
    assert len(feeds["denoiser.onnx"]) == len(loops) * steps
    assert len(feeds["prior.onnx"]) == 2 + 2 * 2  # blind loops ask it twice
    rows = read_rows(five_steps)
    assert rows is not None
    table = five_steps.manifest.sampling.tables[str(steps)]
    for step, feed in zip(table, feeds["denoiser.onnx"], strict=False):
        assert step.row is not None
        np.testing.assert_array_equal(feed["row"], rows[step.row : step.row + 1])
    states = [feed["x_t"] for feed in feeds["denoiser.onnx"][:steps]]
    assert all(not np.array_equal(one, other) for one, other in itertools.pairwise(states))
    assert {float(feed["mask"].min()) for feed in feeds["prior.onnx"]} >= {0.0, five_steps.manifest.model.blind_mask}
    assert len({feed["image"].shape for feed in feeds["denoiser.onnx"]}) == 2  # a wide and a tall photo


def test_fewer_steps(five_steps: Bundle) -> None:
    sampling = five_steps.manifest.sampling
    assert fewer_steps(sampling, 4).default_steps == 4
    assert fewer_steps(sampling, 100).default_steps == sampling.default_steps
