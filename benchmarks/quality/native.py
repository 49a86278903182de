"""What the networks make of photographed pairs at full size, in one piece and on tiles, against the working size."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shadowdiffusion.runtime.loop.host_loop import HostLoop
from shadowdiffusion.runtime.loop.tiles import TiledNetworks
from shadowdiffusion.runtime.restorer import Restorer
from shadowdiffusion.training.datasets import read_photo
from shadowdiffusion.training.layouts import LayoutName, triplets

Pixels = NDArray[np.uint8]

TILES = (512, 320, 256)


@dataclass(frozen=True)
class Row:
    """One photo, restored one way."""

    photo: str
    method: str
    mask: str  # "given" or "none"
    seconds: float
    psnr: float  # dB, against the truth, whole image at the photo's size
    from_whole: float  # dB, against the result in one piece; infinite where they are equal

    def record(self) -> dict[str, Any]:
        """Flat JSON record; no number for what is infinite."""
        rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(self).items()}
        return rounded | {"from_whole": None if np.isinf(self.from_whole) else rounded["from_whole"]}


def measure(restorer: Restorer, data: Path, layout: LayoutName, split: str) -> Iterator[Row]:
    """Every pair at the working size, at its own size, and there on tiles; with its mask, if it has one, and without.

    Raises TrainingError for data that is not a set of pairs, RestoreError for a bundle that does not run.
    """
    bundle, networks = restorer.bundle, restorer.loop.networks
    ways: dict[str, tuple[Restorer, dict[str, Any]]] = {
        "full size, one piece": (Restorer(bundle, restorer.loop, restorer.loop), {"native": True}),
        f"working size {bundle.manifest.model.working_size}": (restorer, {}),
    }
    for tile in TILES:
        loop = HostLoop(bundle, TiledNetworks(networks, (tile, tile), bundle.manifest.model.multiple))
        ways[f"full size, tiles of {tile}"] = (Restorer(bundle, loop, loop), {"native": True})
    for files in triplets(data, split, layout):
        photo, truth = read_photo(files.degraded), read_photo(files.clean)
        masks = {"none": None} if files.mask is None else {"given": read_photo(files.mask)[..., 0], "none": None}
        for kind, mask in masks.items():
            whole = None
            for name, (way, options) in ways.items():
                with warnings.catch_warnings():
                    warnings.simplefilter("error")  # nothing is cut that is not to be
                    found = way(photo, mask, with_mask=False, **options)
                whole = found.image if whole is None else whole
                against = psnr(found.image, truth), psnr(found.image, whole)
                yield Row(files.degraded.stem, name, kind, found.timings["total"], *against)


def psnr(result: Any, truth: Any) -> float:
    """Of 8-bit images, in dB; infinite where they are equal."""
    error = float(np.square(result.astype(np.float64) - truth).mean())
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def table(rows: list[Row]) -> str:
    """Markdown table of means over the photos; "from one piece" is the PSNR of the mean squared difference."""
    kinds = list(dict.fromkeys(row.mask for row in rows))
    lines = [
        "| method | mask | PSNR (dB) | lowest photo against one piece (dB) | from one piece (dB) | s per photo |",
        "|---|---|---|---|---|---|",
    ]
    for kind in kinds:
        of_kind = [row for row in rows if row.mask == kind]
        whole = {row.photo: row.psnr for row in of_kind if np.isinf(row.from_whole)}
        for method in dict.fromkeys(row.method for row in of_kind):
            chosen = [row for row in of_kind if row.method == method]
            mean, seconds = (np.mean([getattr(row, name) for row in chosen]) for name in ("psnr", "seconds"))
            worst = min(row.psnr - whole[row.photo] for row in chosen)
            errors = [10 ** (-row.from_whole / 10) for row in chosen]
            distance = f"{-10 * np.log10(np.mean(errors)):.1f}" if any(errors) else "equal"
            lines.append(f"| {method} | {kind} | {mean:.2f} | {worst:+.2f} | {distance} | {seconds:.1f} |")
    return "\n".join(lines)
