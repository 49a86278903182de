"""Quality of a bundle, as deployed, on photographed pairs: every row of the table on the same photos and masks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.border_gain import border_gain
from benchmarks.quality.metrics import Image, Quality, quality
from runtime.restorer import Restorer
from training.datasets import read_photo as read_pixels
from training.datasets import triplets


@dataclass(frozen=True)
class Row:
    """One method on one photo."""

    photo: str
    method: str
    mask: str  # "given" or "none"
    seconds: float
    quality: Quality

    def record(self) -> dict[str, Any]:
        """Flat JSON record."""
        return {"photo": self.photo, "method": self.method, "mask": self.mask, "seconds": round(self.seconds, 3)} | {
            key: round(value, 4) for key, value in asdict(self.quality).items()
        }


def measure(
    restorer: Restorer,
    data: Path,
    split: str = "test",
    steps: int | None = None,
    working_size: int | None = None,
    seed: int = 0,
) -> Iterator[Row]:
    """Identity, border gain, the prior alone and the whole bundle on every pair, with its mask and without.

    Full-size photos through the runtime's own path, 8 bit, no resizing of the result. Raises TrainingError for
    data that is not a set of pairs, RestoreError for a bundle that does not run.
    """
    for files in triplets(data, split):
        image, truth = read_pixels(files.degraded), read_pixels(files.clean)
        if files.mask is None:
            mask = (truth.astype(np.float32) - image).mean(-1) >= 0.05 * 255
        else:
            mask = read_pixels(files.mask)[..., 0] > 127

        def row(method: str, kind: str, result: Image, seconds: float) -> Row:
            return Row(files.degraded.stem, method, kind, seconds, quality(result, truth, mask))  # noqa: B023

        yield row("identity", "none", image, 0.0)
        started = time.perf_counter()
        yield row("border gain", "given", border_gain(image, mask), time.perf_counter() - started)
        for kind in ("given", "none"):
            given = mask.astype(np.uint8) * 255 if kind == "given" else None
            restored = restorer(image, given, steps=steps, seed=seed, working_size=working_size, with_prior=True)
            assert restored.prior is not None
            timings = restored.timings
            yield row("prior alone", kind, restored.prior, timings["total"] - timings["diffusion"])
            yield row("prior + diffusion", kind, restored.image, timings["total"])


def table(rows: list[Row]) -> str:
    """Markdown table of means over the photos, in the order in which the methods were measured."""
    lines = [
        "| method | mask | PSNR (dB) | SSIM | LAB in shadow | LAB outside | LAB all | s per photo |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for method, mask in dict.fromkeys((row.method, row.mask) for row in rows):
        chosen = [row for row in rows if (row.method, row.mask) == (method, mask)]
        q = [row.quality for row in chosen]
        means = {key: float(np.nanmean([getattr(v, key) for v in q])) for key in asdict(q[0])}
        seconds = float(np.mean([row.seconds for row in chosen]))
        lines.append(
            f"| {method} | {mask} | {means['psnr']:.2f} | {means['ssim']:.3f} | {means['lab_shadow']:.2f} "
            f"| {means['lab_lit']:.2f} | {means['lab_all']:.2f} | {seconds:.2f} |"
        )
    return "\n".join(lines)
