"""The records of kernels with which the native tests run are those that `python -m export kernels` writes today."""

from __future__ import annotations

import json
from pathlib import Path

from kernels.ahead_of_time import SCRATCH, all_variants

RECORDS = Path(__file__).resolve().parents[3] / "runtime" / "native" / "tests" / "gpu" / "kernels.json"


def test_records_are_up_to_date() -> None:
    variants = {variant.name: variant for variant in all_variants()}
    records = json.loads(RECORDS.read_bytes())
    assert len(records) > 30
    for record in records:
        variant = variants[record["name"]]
        names = [name for name in variant.kernel.arg_names if name not in variant.constants]
        arguments = [[name, variant.types[name], 16 if name in variant.aligned else 1] for name in names]
        assert record["entry"] == variant.kernel.__name__
        assert record["arguments"] == [*arguments, *map(list, SCRATCH)]
        assert record["grid"] == list(variant.grid)
        assert record["warps"] == variant.warps
