"""Results are lines that stay: read as they were written, added to, never changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.kernels.record import KernelRecord, newest, quiet
from shadowdiffusion.benchmarks.measurement.results import append, devices, read, results_file
from tests.benchmarks.kernels.records import record


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    file = results_file(tmp_path, "a-gpu", "kernels")
    written = [record(), record("prior_step", noisy={"device": {"triton": 0.4}})]
    for one in written:
        before = file.read_bytes() if file.exists() else b""
        append(file, one)
        assert file.read_bytes().startswith(before)
    assert read(file, KernelRecord) == written
    assert file.read_bytes().count(b"\n") == 2
    assert devices(tmp_path, "kernels") == ["a-gpu"]
    assert devices(tmp_path, "latency") == []


@pytest.mark.parametrize("damage", [b'{"header": {}}\n', b"not json\n", b'{"cut off', b"\xff\n"])
def test_a_line_that_is_no_record_is_named(damage: bytes, tmp_path: Path) -> None:
    file = tmp_path / "kernels.jsonl"
    append(file, record())
    with file.open("ab") as log:
        log.write(damage)
    with pytest.raises(BenchmarkError, match=r"line 2 of .*kernels\.jsonl is not a record"):
        read(file, KernelRecord)


def test_a_record_of_another_format_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "kernels.jsonl"
    append(file, record())
    file.write_bytes(file.read_bytes().replace(b'"format_version":1', b'"format_version":2'))
    with pytest.raises(BenchmarkError, match="line 1"):
        read(file, KernelRecord)


def test_derived_figures() -> None:
    one = record("prior_step")
    assert one.bandwidth == pytest.approx(2000)
    assert one.share == pytest.approx(0.8)
    assert one.time("eager").p50 == 0.004
    found = one.speedup("naive", "wall")
    assert found is not None
    assert found.value == pytest.approx(9)
    assert record().speedup("naive") is None
    with pytest.raises(KeyError):
        record().time("naive")


def test_a_noisy_clock_loses_its_times_and_only_the_first_one_the_record() -> None:
    whole = record("prior_step")
    assert quiet(whole) == whole
    found = quiet(record("prior_step", noisy={"wall": {"eager": 0.5}}))
    assert found is not None
    assert found.noisy == {}
    assert found.speedup("naive", "wall") is None
    assert found.speedup("naive") == whole.speedup("naive")
    assert {timing.clock for timing in found.timings} == {"device"}
    assert quiet(record("prior_step", noisy={"device": {"eager": 0.5}})) is None


def test_the_newest_record_of_a_size_counts_and_a_noisy_one_only_alone() -> None:
    first, second, other = record(calls=1), record(calls=2), record(images=4)
    noisy = record(calls=3, noisy={"device": {"eager": 0.5}})
    assert newest([first, other, second]) == [second, other]
    assert newest([first, noisy]) == [first]
    assert newest([noisy, first]) == [first]
    assert newest([noisy]) == [noisy]
