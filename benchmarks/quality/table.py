"""Markdown tables of what was measured, in the form in which the field prints each kind of set.

Shadow sets have columns for the shadow, the rest and the whole photo; sets with subsets, such as five experts, one
for each and one for their average (the supplement's Table C); all others are tables like its Table B.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from shadowdiffusion.benchmarks.quality.metrics import Region
from shadowdiffusion.benchmarks.quality.published import PUBLISHED, Published
from shadowdiffusion.benchmarks.quality.record import Protocol, QualityRecord
from shadowdiffusion.training.layouts import TASKS

Records = Sequence[QualityRecord]
Part = Callable[[QualityRecord], Region | None]


class Column(NamedTuple):
    """A figure of one method, from all its records: by photos or by pixels; None where there is nothing to average."""

    title: str
    digits: int
    by_photos: Callable[[Records], float | None]
    by_pixels: Callable[[Records], float | None]


def tables(records: Records) -> str:
    """Both aggregates, one below the other, and how they came about."""
    protocol = records[0].protocol
    rows: dict[tuple[str, str], list[QualityRecord]] = {}
    for record in records:
        rows.setdefault((record.method, record.mask), []).append(record)
    published = PUBLISHED.get(protocol.layout, ()) if protocol.split == "test" else ()
    columns = _columns(records, published)
    photos = len({record.photo for record in records})
    parts = [
        _protocol(protocol, photos),
        "Mean over the photos:",
        _table(rows, columns, [column.by_photos for column in columns], published),
        "Over all pixels of all photos:",
        _table(rows, columns, [column.by_pixels for column in columns], ()),
    ]
    return "\n\n".join(parts) + "\n"


def _protocol(protocol: Protocol, photos: int) -> str:
    size = (
        "native size"
        if protocol.resize is None
        else f"{protocol.resize} x {protocol.resize} pixels (MATLAB's imresize)"
    )
    return "\n".join(
        [
            f"{protocol.data}: layout {protocol.layout}, split {protocol.split}, {photos} photos, {size}.",
            f"PSNR in dB, {protocol.psnr}. SSIM: {protocol.ssim}. LAB: {protocol.lab}. LPIPS: {protocol.lpips}.",
            "Published rows follow their own authors' protocol.",
        ]
    )


def _table(
    rows: dict[tuple[str, str], list[QualityRecord]],
    columns: Sequence[Column],
    figures: Sequence[Callable[[Records], float | None]],
    published: Iterable[Published],
) -> str:
    titles = ["method", "mask", "from", *(column.title for column in columns), "s per photo"]
    lines = [_line(titles), _line("---" for _ in titles)]
    for (method, mask), chosen in rows.items():
        cells = [_cell(figure(chosen), column.digits) for column, figure in zip(columns, figures, strict=True)]
        lines.append(_line([method, mask, "measured", *cells, _cell(_mean(r.seconds for r in chosen), 2)]))
    for row in published:
        cells = [_cell(row.figures.get(column.title), column.digits) for column in columns]
        lines.append(_line([row.method, "", row.source, *cells, ""]))
    return "\n".join(lines)


def _columns(records: Records, published: Sequence[Published]) -> list[Column]:
    subsets = list(dict.fromkeys(record.subset for record in records))
    if TASKS[records[0].protocol.layout] == "shadow":
        parts: list[tuple[str, Part]] = [
            (" shadow", lambda r: r.quality.shadow),
            (" outside", lambda r: r.quality.lit),
            (" all", _whole),
        ]
        there = [(name, part) for name, part in parts if any(part(record) for record in records)]
        columns = [make(name, part) for make in (_psnr, _ssim, _lab) for name, part in there]
    elif len(subsets) > 1:
        pairs = [(_psnr(f" {subset}", _whole), _ssim(f" {subset}", _whole)) for subset in subsets]
        columns = [_only(column, subset) for pair, subset in zip(pairs, subsets, strict=True) for column in pair]
        columns += [_average(" average", make, subsets) for make in (_psnr, _ssim, _lab)]
    else:
        columns = [make("", _whole) for make in (_psnr, _ssim, _lab)]
    if any(r.lpips is not None for r in records) or any("LPIPS" in row.figures for row in published):
        columns.append(Column("LPIPS", 3, _lpips, _lpips))
    return columns


def _whole(record: QualityRecord) -> Region:
    return record.quality.whole


def _lpips(records: Records) -> float | None:
    return _mean(record.lpips for record in records)


def _psnr(name: str, part: Part) -> Column:
    """By pixels: of the squared errors of all photos together."""

    def by_pixels(records: Records) -> float | None:
        error = _weighted((10 ** (-found.psnr / 10), _whole(r).pixels) for r in records if (found := part(r)))
        return None if error is None else float(-10 * np.log10(error))

    return Column(f"PSNR{name}", 2, lambda records: _mean(p.psnr for r in records if (p := part(r))), by_pixels)


def _ssim(name: str, part: Part) -> Column:
    return Column(
        f"SSIM{name}",
        3,
        lambda records: _mean(p.ssim for r in records if (p := part(r))),
        lambda records: _weighted((p.ssim, _whole(r).pixels) for r in records if (p := part(r))),
    )


def _lab(name: str, part: Part) -> Column:
    return Column(
        f"LAB{name}",
        2,
        lambda records: _mean(p.lab for r in records if (p := part(r))),
        lambda records: _weighted((p.lab, p.pixels) for r in records if (p := part(r))),
    )


def _only(column: Column, subset: str) -> Column:
    def chosen(figure: Callable[[Records], float | None]) -> Callable[[Records], float | None]:
        return lambda records: figure([record for record in records if record.subset == subset])

    return column._replace(by_photos=chosen(column.by_photos), by_pixels=chosen(column.by_pixels))


def _average(name: str, make: Callable[[str, Part], Column], subsets: Sequence[str]) -> Column:
    """The mean of the subsets' figures."""
    each = [_only(make(name, _whole), subset) for subset in subsets]
    return each[0]._replace(
        by_photos=lambda records: _mean(column.by_photos(records) for column in each),
        by_pixels=lambda records: _mean(column.by_pixels(records) for column in each),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _weighted(pairs: Iterable[tuple[float, int]]) -> float | None:
    known = list(pairs)
    return sum(value * weight for value, weight in known) / sum(weight for _, weight in known) if known else None


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
