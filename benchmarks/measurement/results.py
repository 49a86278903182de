"""Results as append-only data: benchmarks/results/<device>/<kind>.jsonl, one typed record per line.

A line is written when its case is done, so a run that is cut off leaves what it has; lines that are there are never
changed. Reports are made from nothing else.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec

from shadowdiffusion.benchmarks.errors import BenchmarkError

FOLDER = Path(__file__).resolve().parents[1]
"""Where `results` and `reports` are, unless another folder is asked for."""

Record = TypeVar("Record", bound=msgspec.Struct)


def results_file(folder: Path, device: str, kind: str) -> Path:
    """The file of one kind of record of one device, whose name is a `machine.slug`."""
    return folder / "results" / device / f"{kind}.jsonl"


def devices(folder: Path, kind: str) -> list[str]:
    """Devices with results of that kind, in order of their names."""
    return sorted(file.parent.name for file in (folder / "results").glob(f"*/{kind}.jsonl"))


def append(file: Path, record: msgspec.Struct) -> None:
    """Add one line, and make the file if it is not there. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    line = msgspec.json.encode(record) + b"\n"
    with file.open("ab") as log:
        log.write(line)
        log.flush()
        os.fsync(log.fileno())


def read(file: Path, kind: type[Record]) -> list[Record]:
    """All records, in the order in which they were written. Raises BenchmarkError for a line that is not one."""
    records = []
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        try:
            records.append(msgspec.json.decode(line, type=kind))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BenchmarkError(f"line {number} of {file} is not a record ({error}): remove that line") from None
    return records
