"""`python -m benchmarks latency` from the outside: the trial run, its refusals, and what it leaves on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shadowdiffusion.benchmarks import session
from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.latency.bench import Bench, smoke_bench
from shadowdiffusion.benchmarks.latency.record import LatencyRecord
from shadowdiffusion.benchmarks.latency.run import Request, run
from shadowdiffusion.benchmarks.latency.stage_record import StageRecord
from shadowdiffusion.benchmarks.measurement.results import FOLDER, read
from shadowdiffusion.benchmarks.measurement.timing import SMOKE, Effort
from shadowdiffusion.benchmarks.models.subject import Subject
from shadowdiffusion.benchmarks.session import Options
from tests.benchmarks.conftest import Command

BASELINES = ["authors", "eager", "compile", "diffusers", "plain-onnx"]
EXPORTED = ["lean-loop", "time-table", "mask-head", "fold"]
ENGINE = "engine onnxruntime fp32"


def test_the_trial_run_races_everybody(benchmarks_command: Command, tmp_path: Path) -> None:
    done = benchmarks_command("latency", "--smoke", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "NOT A MEASUREMENT" in done.stdout
    images, photo = read(tmp_path / "results" / "smoke" / "latency.jsonl", LatencyRecord)
    names = [entry.name for entry in images.entries]
    assert names[:9] == BASELINES + EXPORTED
    assert names[-2:] == ["bundle", ENGINE]
    assert images.failures == {"winograd": "winograd finds nothing to change in these graphs"}
    assert images.header.smoke
    assert images.header.command == f"python -m benchmarks latency --smoke -o {tmp_path}"
    assert {(entry.name, entry.parent) for entry in images.entries if entry.name in EXPORTED} == {
        ("lean-loop", "plain-onnx"),
        ("time-table", "lean-loop"),
        ("mask-head", "time-table"),
        ("fold", "mask-head"),
    }
    assert all(entry.psnr > 100 and len(entry.samples) == images.rounds == 1 for entry in images.entries)
    assert images.host_mib > 100
    assert images.model.weights == "random, seed 0"
    assert (photo.scope, photo.photo, photo.size) == ("photo", (64, 48), 32)
    assert [entry.name for entry in photo.entries] == ["bundle", ENGINE]
    assert all(entry.psnr > 100 for entry in photo.entries)
    stages = read(tmp_path / "results" / "smoke" / "stages.jsonl", StageRecord)
    assert [record.contestant for record in stages] == ["bundle", ENGINE]
    assert {stage.name: stage.times for stage in stages[0].in_loop} == {
        "prior": 1,
        "illumination": 1,
        "noise": 1,
        "denoiser step": 2,
        "step arithmetic": 1,
    }
    assert all(record.psnr > 100 for record in stages)


OPTIONS = Options(device="cpu", threads=1, smoke=True)
REQUEST = Request(OPTIONS, scopes=("images",), contestants=("bundle",))


def asking(**changes: object) -> Request:
    """The request with other options, or another in itself."""
    shared = {name: changes.pop(name) for name in list(changes) if hasattr(OPTIONS, name)}
    return replace(REQUEST, options=replace(OPTIONS, **shared), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scopes": ["movies"]}, "scope 'movies' is unknown: choose from images, photo, stages"),
        ({"contestants": ["nobody"]}, "contestant 'nobody' is unknown: choose from authors, .*, bundle, engine"),
        ({"models": ["large"]}, "model 'large' is unknown: choose from bundle, paper"),
        ({"sizes": [33]}, "size 33 does not fit .* multiples of 4, like 32"),
        ({"batches": [0]}, "batch 0 is empty: choose at least 1"),
        ({"steps": [7]}, "7 steps"),
        ({"smoke": False, "device": "cuda"}, "no CUDA device"),
        ({"smoke": False, "threads": 0}, "0 threads are too few"),
    ],
)
def test_bad_requests_say_what_to_do(subject: Subject, changes: dict[str, object], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        run(asking(**changes), [])


def test_a_bad_request_is_one_line_and_code_2(benchmarks_command: Command) -> None:
    done = benchmarks_command("latency", "--smoke", "--contestant", "nobody")
    assert done.returncode == 2
    assert done.stderr.startswith("error: contestant 'nobody' is unknown")
    assert done.stderr.count("\n") == 1


def test_a_trial_run_stores_nothing_unless_told_where(subject: Subject, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(FOLDER.rglob("*.jsonl"))
    run(REQUEST, [])
    assert "tiny (random, seed 0 weights), 32 pixels, batch 1, 2 steps" in capsys.readouterr().out
    assert sorted(FOLDER.rglob("*.jsonl")) == before


def test_a_batch_of_images_and_other_steps(subject: Subject, tmp_path: Path) -> None:
    names = ("authors", "bundle")
    run(asking(batches=(2,), sizes=(16, 24), steps=(1, 5), contestants=names, output=tmp_path), [])
    records = read(tmp_path / "results" / "smoke" / "latency.jsonl", LatencyRecord)
    assert [(r.size, r.batch, r.steps) for r in records] == [(16, 2, 1), (24, 2, 1), (16, 2, 5), (24, 2, 5)]
    assert all(entry.psnr > 100 for record in records for entry in record.entries)


def wild(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every spread is too wide."""

    class Wild(Bench):
        def effort(self, seconds: float, ms_per_round: float, turns: int) -> Effort:
            return replace(SMOKE, spread=-1.0)

    wide = smoke_bench()
    monkeypatch.setattr(session, "smoke_bench", lambda: Wild(**vars(wide)))


def test_noisy_times_are_refused_or_marked(subject: Subject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wild(monkeypatch)
    everything = ("images", "stages")
    with pytest.raises(BenchmarkError, match="11 results are missing, or have too wide a spread"):
        run(asking(scopes=everything, output=tmp_path), [])
    assert not (tmp_path / "results").exists()
    run(asking(scopes=everything, output=tmp_path, force=True), [])
    (record,) = read(tmp_path / "results" / "smoke" / "latency.jsonl", LatencyRecord)
    (stages,) = read(tmp_path / "results" / "smoke" / "stages.jsonl", StageRecord)
    assert set(record.noisy) == {"bundle"}
    assert len(stages.noisy) == 10


def test_time_that_is_up_leaves_what_there_is(
    subject: Subject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(asking(minutes=0.0, output=tmp_path), [])
    assert (
        "0 minutes are over: tiny, 32 pixels, batch 1, 2 steps and what follows is left out" in capsys.readouterr().err
    )
    assert not (tmp_path / "results").exists()
