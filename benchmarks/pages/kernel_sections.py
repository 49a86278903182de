"""The kernels under the roof that the memory of a GPU is; their tables are a page of their own."""

from __future__ import annotations

from collections.abc import Sequence

from shadowdiffusion.benchmarks.kernels.record import KIND, OURS, KernelRecord
from shadowdiffusion.benchmarks.pages.blocks import Block, Figure, Heading, Table, Text
from shadowdiffusion.benchmarks.pages.svg import Axis, Series, chart


def kernel_section(records: Sequence[KernelRecord]) -> list[Block]:
    """The roofline of all kernels."""
    if not records:
        return []
    ordered = sorted(records, key=lambda record: (record.kernel, record.bytes))
    names = list(dict.fromkeys(record.kernel for record in ordered))
    series = [
        Series(name, [(r.bytes / 1e6, r.bandwidth) for r in ordered if r.kernel == name], scattered=True)
        for name in names
    ]
    roof = sorted({record.copy_bandwidth for record in ordered})[-1]
    ends = min(record.bytes for record in ordered) / 1e6, max(record.bytes for record in ordered) / 1e6
    series.insert(0, Series("a large copy", [(end, roof) for end in dict.fromkeys(ends)]))
    title = "Kernels: bandwidth over bytes moved"
    rows = [
        [
            f"{r.kernel} {r.variant}",
            f"{r.images}×{r.channels}×{r.height}×{r.width}",
            f"{1e3 * r.time(OURS).p50:.2f}",
            f"{r.bandwidth:.0f}",
            f"{r.share:.0%}",
        ]
        for r in ordered
    ]
    return [
        Heading("Kernels"),
        Text(
            f"Against the bandwidth of a large copy, {roof:.0f} GB/s. Times, ratios and targets: [tables]({KIND}.md)."
        ),
        Figure("kernels", chart(title, Axis("MB", log=True), Axis("GB/s", log=True), series), title),
        Table(["kernel", "N×C×H×W", "µs", "GB/s", "of copy"], rows),
    ]
