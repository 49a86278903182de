"""Every baseline restores what the reference sampler restores, or says why it does not race."""

from __future__ import annotations

import sys
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from shadowdiffusion.benchmarks.baselines.setting import Contestant, Setting, Unavailable
from shadowdiffusion.benchmarks.latency.bench import smoke_bench
from shadowdiffusion.benchmarks.latency.contestants import BASELINES
from shadowdiffusion.benchmarks.latency.reference import ReferenceLoop
from shadowdiffusion.benchmarks.models.subject import Subject
from shadowdiffusion.export.verify import psnr

EVERYBODY = pytest.mark.parametrize("baseline", BASELINES, ids=lambda baseline: baseline.name)


def setting(subject: Subject, steps: int = 5) -> Setting:
    return smoke_bench().setting(subject, 32, 2, steps)


@EVERYBODY
@pytest.mark.parametrize("steps", [5, 25])
def test_it_is_the_reference_up_to_rounding(subject: Subject, baseline: Contestant, steps: int) -> None:
    race = setting(subject, steps)
    truth = ReferenceLoop(subject, race.device).restore(race.images, race.masks, race.table, race.seeds).image
    before = race.images.copy(), race.noise.copy()
    restore = baseline.prepare(race)
    first, again = restore(), restore()
    assert first.shape == truth.shape
    assert not np.array_equal(truth[0], truth[1])
    assert psnr(first, truth) > 90
    assert np.array_equal(first, again)
    assert np.array_equal(before[0], race.images)
    assert np.array_equal(before[1], race.noise)


@EVERYBODY
@pytest.mark.parametrize(
    "option", [{"mask_policy": "predicted"}, {"start": 400}, {"clamp": True}, {"eta": 1.0}, {"data_consistency": False}]
)
def test_other_ways_to_sample_are_refused(subject: Subject, baseline: Contestant, option: dict[str, object]) -> None:
    manifest = subject.bundle.manifest
    changed = msgspec.structs.replace(manifest, sampling=msgspec.structs.replace(manifest.sampling, **option))
    other = replace(subject, bundle=replace(subject.bundle, manifest=changed))
    with pytest.raises(Unavailable, match="the bundle samples with"):
        baseline.prepare(replace(setting(subject), subject=other))


def test_diffusers_that_is_not_there(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    (diffusers,) = (baseline for baseline in BASELINES if baseline.name == "diffusers")
    with pytest.raises(Unavailable, match=r"diffusers is not installed: pip install '.*\[benchmark\]'"):
        diffusers.prepare(setting(subject))
