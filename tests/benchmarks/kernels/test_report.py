"""Pages say what the data say, the same for the same data, and nothing where there are none."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from shadowdiffusion.benchmarks.kernels.record import KIND
from shadowdiffusion.benchmarks.kernels.report import HEADINGS, line, page
from shadowdiffusion.benchmarks.kernels.targets import target_rows
from shadowdiffusion.benchmarks.measurement.results import FOLDER, append, results_file
from shadowdiffusion.benchmarks.reports import write_reports
from tests.benchmarks.kernels.records import HEADER, record


def cells(text: str, beginning: str) -> list[str]:
    """The cells of the one table row that begins so."""
    rows = [row for row in text.splitlines() if row.startswith(f"| {beginning}")]
    assert len(rows) == 1, rows
    return [cell.strip() for cell in rows[0].strip("|").split("|")]


def test_a_row_of_the_page() -> None:
    found = cells(page([record()]), "confident_mask fp16 nchw")
    assert found == [
        "confident_mask fp16 nchw",
        "1×3×256×256",
        "1",
        "2.00",
        "1.00",
        "1.25",
        "2000",
        "80%",
        "80%",
        "4.00 (3.64–4.44)",
        "1.50 (1.36–1.67)",
        "3.0e-07",
    ]


def test_the_step_against_all_its_baselines() -> None:
    found = page([record("prior_step")])
    step = cells(found[: found.index("## Kernels")], "fp16 nchw")
    assert step[2:6] == ["1.00", "4.00", "1.50", "9.00"]
    assert step[9:] == ["4.00x", "1.50x", "9.00x", "1, 10, 19"]


def test_a_line_for_the_terminal_stands_under_its_headings() -> None:
    shown = line(record())
    assert len(shown) == len(HEADINGS)
    assert shown.split() == [
        "confident_mask",
        "fp16",
        "nchw",
        "1x3x256x256",
        "1.00",
        "2000",
        "80%",
        "80%",
        "4.00x",
        "1.50x",
        "–",
    ]
    assert line(record(noisy={"device": {"eager": 0.3}})).endswith("noisy by the device clock")


def test_the_page_does_not_depend_on_the_order_of_unrelated_lines() -> None:
    records = [record(), record(images=16), record("prior_step"), record("group_norm_silu", height=32)]
    assert page(records) == page(records[::-1]) == page([*records, records[0]])


def test_every_run_that_contributes_is_named() -> None:
    later = msgspec.structs.replace(HEADER, started="2026-02-03T00:00:00+00:00", dirty=True, commit="f" * 40)
    bare = msgspec.structs.replace(
        HEADER,
        started="2026-03-03T00:00:00+00:00",
        commit=None,
        machine=msgspec.structs.replace(HEADER.machine, versions={}),
    )
    found = page([record(), record(images=4, header=later), record(images=16, header=bare)])
    assert "- 2026-01-02T03:04:05+00:00: torch 2.11, triton 3.6.0, driver 580.1, 1980 MHz and 40 °C" in found
    assert "commit ffffffffff with changes" in found
    assert "- 2026-03-03T00:00:00+00:00: driver 580.1" in found


def test_targets_judge_the_worst_size() -> None:
    rows = "\n".join(
        target_rows(
            [
                record(height=1024, width=1024),
                record(height=1024, width=1024, images=4, copy_bandwidth=4000.0),
                record(height=512, width=512, copy_bandwidth=1e6),  # too small to count
                record("guided_upsample", height=1024, width=1024, streaming=False, copy_bandwidth=1e6),
                record("prior_step"),
            ]
        )
    )
    streaming = cells(rows, "streaming kernels")
    assert streaming[1:] == ["0.85", "0.50", "confident_mask fp16 nchw 4×3×1024×1024, of 2", "missed"]
    assert cells(rows, "one step's arithmetic at 256×256: times faster than a naive")[2:] == [
        "9.00",
        "prior_step fp16 nchw 1×3×256×256, of 1",
        "met",
    ]
    assert cells(rows, "group_norm_silu")[2:] == ["not measured", "", ""]


def test_without_data_nothing_is_claimed() -> None:
    assert all("| not measured | | |" in row for row in target_rows([])[2:])


def test_a_baseline_that_failed_is_told_and_not_counted() -> None:
    whole = record("prior_step")
    broken = msgspec.structs.replace(
        whole,
        failures={"compile": "RuntimeError: no"},
        timings=[timing for timing in whole.timings if timing.contestant != "compile"],
        speedups=[speedup for speedup in whole.speedups if speedup.over != "compile"],
    )
    found = page([broken])
    assert "- prior_step fp16 nchw 1×3×256×256, compile: RuntimeError: no" in found
    assert cells(found, "one step's arithmetic at 256×256: times faster than torch.compile")[2] == "not measured"
    assert "–" in line(broken)


def test_a_trial_run_is_no_measurement() -> None:
    smoke = msgspec.structs.replace(HEADER, smoke=True)
    found = page([record(header=smoke)])
    assert "no figure on this page is a measurement" in found
    assert "## Targets" not in found
    assert "no figure" not in page([record()])


def test_reports_are_made_from_results_alone(tmp_path: Path) -> None:
    def written() -> dict[str, bytes]:
        return {
            file.relative_to(tmp_path / "reports").as_posix(): file.read_bytes() for file in write_reports(tmp_path)
        }

    append(results_file(tmp_path, "a-gpu", KIND), record())
    found = written()
    of_device = {f"a-gpu/{name}" for name in ("README.md", "index.html", "kernels.md", "kernels.svg")}
    assert set(found) == {*of_device, "README.md", "index.html"}
    assert b"](a-gpu/kernels.md)" in found["README.md"]
    assert written() == found
    kept = {file.relative_to(tmp_path / "reports").as_posix() for file in (tmp_path / "reports").rglob("*.*")}
    assert kept == set(found)


def test_damaged_results_leave_the_reports_as_they_are(tmp_path: Path) -> None:
    append(results_file(tmp_path, "a-gpu", KIND), record())
    before = {file: file.read_bytes() for file in write_reports(tmp_path)}
    append(results_file(tmp_path, "a-gpu", KIND), record(images=4))
    results_file(tmp_path, "b-gpu", KIND).parent.mkdir()
    results_file(tmp_path, "b-gpu", KIND).write_text("{}\n")
    with pytest.raises(Exception, match="is not a record"):
        write_reports(tmp_path)
    assert {file: file.read_bytes() for file in before} == before


def test_committed_reports_are_those_of_the_committed_results(tmp_path: Path) -> None:
    if (FOLDER / "results").exists():
        shutil.copytree(FOLDER / "results", tmp_path / "results")
    made = {file.relative_to(tmp_path / "reports"): file.read_bytes() for file in write_reports(tmp_path)}
    kept = (file for file in (FOLDER / "reports").rglob("*") if file.is_file())
    assert {file.relative_to(FOLDER / "reports"): file.read_bytes() for file in kept} == made
