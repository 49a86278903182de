"""Pages made from the stored results: one folder per device, and a page that compares the devices."""

from __future__ import annotations

from pathlib import Path

from shadowdiffusion.benchmarks.kernels.record import KIND
from shadowdiffusion.benchmarks.kernels.report import page as kernel_page
from shadowdiffusion.benchmarks.measurement.results import read, results_file
from shadowdiffusion.benchmarks.pages.blocks import Page
from shadowdiffusion.benchmarks.pages.device_page import device_page
from shadowdiffusion.benchmarks.pages.html import html
from shadowdiffusion.benchmarks.pages.markdown import markdown
from shadowdiffusion.benchmarks.pages.overview import overview
from shadowdiffusion.benchmarks.pages.results import load, slugs
from shadowdiffusion.benchmarks.quality.record import QualityRecord
from shadowdiffusion.runtime.replacing import replaced

QUALITY = "quality"


def write_reports(folder: Path) -> list[Path]:
    """Write `reports` beside `results` and return the files: the same results, the same bytes.

    Raises BenchmarkError for results that cannot be read, before anything is written, and OSError.
    """
    texts, devices = dict[str, str](), [load(folder, slug) for slug in slugs(folder)]
    for device in devices:
        quality = results_file(folder, device.slug, QUALITY)
        found = read(quality, QualityRecord) if quality.is_file() else []
        texts |= _files(device_page(device, found), f"{device.slug}/")
        if device.kernels:
            texts[f"{device.slug}/{KIND}.md"] = kernel_page(device.kernels)
    texts |= _files(overview(devices), "")
    files = []
    for name, text in texts.items():
        file = folder / "reports" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with replaced(file) as fresh:
            fresh.write(text.encode())
        files.append(file)
    return files


def _files(page: Page, where: str) -> dict[str, str]:
    """Both forms of a page, and its plots, by their paths."""
    texts = {"README.md": markdown(page), "index.html": html(page)} | page.figures
    return {f"{where}{name}": text for name, text in texts.items()}
