"""`python -m benchmarks kernels` from the outside: the trial run, its refusals, and what it leaves on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.kernels import run as kernel_run
from shadowdiffusion.benchmarks.kernels.case import Inputs
from shadowdiffusion.benchmarks.kernels.cases import KERNELS
from shadowdiffusion.benchmarks.kernels.record import KernelRecord
from shadowdiffusion.benchmarks.kernels.run import Request, run
from shadowdiffusion.benchmarks.kernels.speed import smoke_bench
from shadowdiffusion.benchmarks.measurement.results import FOLDER, read
from shadowdiffusion.benchmarks.measurement.timing import SMOKE

ROOT = Path(__file__).resolve().parents[3]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["CUDA_VISIBLE_DEVICES"] = ""
    words = (sys.executable, "-m", "benchmarks", "kernels", *arguments)
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_the_trial_run_goes_through_everything(tmp_path: Path) -> None:
    done = command("--smoke", "-o", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "NOT A MEASUREMENT" in done.stdout
    records = read(tmp_path / "results" / "smoke" / "kernels.jsonl", KernelRecord)
    assert {record.kernel for record in records} == {*KERNELS, "group_norm_silu"}
    assert all(record.header.smoke and not record.failures and record.calls == 2 for record in records)
    assert records[0].header.command == f"python -m benchmarks kernels --smoke -o {tmp_path}"
    assert done.stdout.count("\n") == len(records) + 2
    page = (tmp_path / "reports" / "smoke" / "kernels.md").read_text()
    assert "no figure on this page is a measurement" in page
    assert "(smoke/kernels.md)" in (tmp_path / "reports" / "README.md").read_text()


def test_without_a_gpu_it_is_one_line_and_code_2() -> None:
    done = command()
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: no CUDA device")
    assert done.stderr.count("\n") == 1


REQUEST = Request(["confident_mask"], (), (), 10.0, force=False, smoke=True, output=None)


def stored(folder: Path) -> list[KernelRecord]:
    return read(folder / "results" / "smoke" / "kernels.jsonl", KernelRecord)


def test_a_trial_run_stores_nothing_unless_told_where(capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(FOLDER.rglob("*.jsonl"))
    run(REQUEST, [])
    assert "confident_mask fp32" in capsys.readouterr().out
    assert sorted(FOLDER.rglob("*.jsonl")) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernels": ["gaussian"]}, "kernel 'gaussian' is unknown: choose from prior_step, .*, group_norm_silu"),
        ({"sides": [100]}, "size 100 .* multiple of 8"),
        ({"sides": [0]}, "size 0 .* multiple of 8"),
        ({"batches": [0]}, "batch 0 .* at least 1"),
    ],
)
def test_bad_requests_say_what_to_do(changes: dict[str, list[object]], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        run(replace(REQUEST, **changes), [])  # type: ignore[arg-type]


def test_noisy_times_are_refused_or_marked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bench = smoke_bench()
    monkeypatch.setattr(kernel_run, "smoke_bench", lambda: replace(bench, effort=replace(SMOKE, spread=-1.0)))
    monkeypatch.setattr(kernel_run, "copy_bandwidth", lambda _: 10.0)
    request = replace(REQUEST, output=tmp_path)
    with pytest.raises(BenchmarkError, match="1 of 1 cases have no result"):
        run(request, [])
    assert not (tmp_path / "results").exists()
    run(replace(request, force=True), [])
    (record,) = stored(tmp_path)
    assert set(record.noisy["wall"]) == {"triton", "copy", "eager", "compile"}
    assert "(noisy)" in (tmp_path / "reports" / "smoke" / "kernels.md").read_text()


def test_noisy_copies_stop_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = smoke_bench()
    monkeypatch.setattr(kernel_run, "smoke_bench", lambda: replace(bench, effort=replace(SMOKE, spread=-1.0)))
    with pytest.raises(BenchmarkError, match="copies spread by 0%"):
        run(REQUEST, [])


def test_time_that_is_up_leaves_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(replace(REQUEST, minutes=0.0, output=tmp_path), [])
    assert "0 minutes are over: 1 of 1 cases are left out" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_kernel_that_fails_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(device: torch.device, seed: int) -> Inputs:
        raise RuntimeError("out of memory\nlong story")

    make = KERNELS["confident_mask"]
    name = "prior_coefficients"
    monkeypatch.setitem(KERNELS, name, lambda i, s: [replace(case, build=broken) for case in make(i, s)])
    with pytest.raises(BenchmarkError, match="1 of 2 cases have no result"):
        run(replace(REQUEST, kernels=[name, "confident_mask"], output=tmp_path), [])
    assert "confident_mask fp32 1x1x8x8: out of memory\n" in capsys.readouterr().err
    assert len(stored(tmp_path)) == 1
    assert (tmp_path / "reports" / "smoke" / "kernels.md").exists()
