"""Pages say what the data say, the same bytes for the same data, and work in both forms."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from shadowdiffusion.benchmarks.latency.record import KIND
from shadowdiffusion.benchmarks.measurement.results import append, results_file
from shadowdiffusion.benchmarks.pages.blocks import Heading, Page, Points, Table, Text
from shadowdiffusion.benchmarks.pages.html import html
from shadowdiffusion.benchmarks.pages.markdown import markdown
from shadowdiffusion.benchmarks.pages.svg import Axis, Bar, Series, bars, chart
from shadowdiffusion.benchmarks.pages.targets import targets
from shadowdiffusion.benchmarks.reports import write_reports
from tests.benchmarks.latency.records import HEADER, entry, race
from tests.benchmarks.pages import device


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder / "reports").as_posix(): file.read_bytes() for file in write_reports(folder)}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pages")
    device.write(folder)
    device.write_gpu(folder)
    return {name: data.decode() for name, data in contents(folder).items()}


def test_the_same_data_give_the_same_bytes(tmp_path: Path) -> None:
    device.write(tmp_path / "one")
    device.write(tmp_path / "two", backwards=True)
    first = contents(tmp_path / "one")
    assert first == contents(tmp_path / "one")
    assert first == contents(tmp_path / "two")


def test_every_kind_of_result_has_its_section(pages: dict[str, str]) -> None:
    plots = {name.removeprefix("a-cpu/") for name in pages if name.startswith("a-cpu/") and name.endswith(".svg")}
    assert plots == {
        "model-1-images-256-1-5.svg",
        "model-1-images-256-1-25.svg",
        "model-1-images-512-1-5.svg",
        "model-1-photo-256-1-5.svg",
        "model-1-steps-256-pixels-batch-1.svg",
        "model-1-resolution-5-steps-batch-1.svg",
        "model-1-fidelity.svg",
        "model-1-stages-bundle.svg",
        "model-1-scaling-pixels.svg",
        "model-1-scaling-threads.svg",
        "model-1-memory-pixels.svg",
        "model-1-startup.svg",
        "quality-shadow_val-given.svg",
    }
    text = pages["a-cpu/README.md"]
    assert all(f"]({plot})" in text for plot in plots)
    assert "| bundle | 4025 |" in text
    assert "1.99 (1.98–2.01) | 1.50 (1.49–1.52)" in text or "2.00 (2.00–2.00) | 1.50" in text
    assert "| engine onnxruntime int8 |" in text
    assert "47.0 *" in text
    assert "compile did not race: torch.compile does not work here: no compiler" in text
    assert "| CPU: int8, times as fast as the same in float32 | ≥ 1.3 |" in text
    assert text.count("| met |") == 3
    assert "super-linear" in text
    assert "| denoiser step | about denoiser step | 5 | 15 | 15 | 75.0% |" in text


def test_plots_are_well_formed_and_stay_inside(pages: dict[str, str]) -> None:
    for name, text in pages.items():
        if not name.endswith(".svg"):
            continue
        root = ET.fromstring(text)
        _, _, width, height = (float(part) for part in root.attrib["viewBox"].split())
        numbers = [
            (float(node.attrib[key]), limit)
            for node in root.iter()
            for keys, limit in ((("x", "x1", "x2", "cx"), width), (("y", "y1", "y2", "cy"), height))
            for key in keys
            if key in node.attrib
        ]
        assert numbers
        assert all(0 <= value <= limit for value, limit in numbers), name


class Outline(HTMLParser):
    """Open tags that are never closed, and what the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [str(value) for name, value in attrs if name == "src" or (tag == "link" and name == "href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_needs_nothing_else(pages: dict[str, str]) -> None:
    for name, text in pages.items():
        if not name.endswith(".html"):
            continue
        outline = Outline()
        outline.feed(text)
        assert outline.open == []
        assert outline.loaded == []
        assert "prefers-color-scheme: dark" in text
        assert 'name="viewport"' in text
    assert pages["a-cpu/index.html"].count("<svg") == 13


def test_links_lead_to_pages_that_exist(pages: dict[str, str]) -> None:
    for name, text in pages.items():
        found = re.findall(r'<a href="([^"]+)"' if name.endswith(".html") else r"\]\(([^)]+)\)", text)
        for target in found if not name.endswith(".svg") else ():
            path = (Path(name).parent / target).as_posix().replace("a-cpu/../", "").replace("a-gpu/../", "")
            assert path in pages, (name, target)


def test_the_top_page_compares_devices(pages: dict[str, str]) -> None:
    top = pages["README.md"]
    assert "- [a CPU, 4 cores](a-cpu/README.md)" in top
    assert "- [NVIDIA H100](a-gpu/kernels.md)" in top
    assert "| [a CPU, 4 cores](a-cpu/README.md) | paper | 256 | 1 | 5 | engine onnxruntime int8 | 2012 |" in top
    assert "## Restorations on a GPU\n\nNot measured yet." in top


def test_without_data_nothing_is_claimed(tmp_path: Path) -> None:
    top = contents(tmp_path)["README.md"].decode()
    assert top.count("not measured") == 9
    assert "met" not in re.findall(r"\| (\w+) \|$", top)


def test_a_trial_is_no_measurement(tmp_path: Path) -> None:
    trial = race([entry("bundle", [1.0, 2.0])], header=msgspec.structs.replace(HEADER, smoke=True))
    append(results_file(tmp_path, "smoke", KIND), trial)
    pages = {name: data.decode() for name, data in contents(tmp_path).items()}
    assert "no figure on this page is a measurement" in pages["smoke/README.md"]
    assert "## Targets" not in pages["smoke/README.md"]
    assert "## Restorations\n" not in pages["README.md"]


def test_targets_judge_ours_by_what_they_ask_for() -> None:
    slow = race([entry("authors", [10.0], ours=False), entry("plain-onnx", [9.0], ours=False), entry("bundle", [8.0])])
    verdicts = [row[2:] for row in targets([slow], "cpu").rows]
    assert verdicts == [["1.25", "missed"], ["1.12", "missed"], ["not measured", ""]]
    fast = race([entry("authors", [80.0], ours=False), entry("engine", [7.9])], device="cuda")
    verdicts = [row[2:] for row in targets([slow, fast], "cuda").rows]
    assert verdicts[:3] == [["7.9", "met"], ["10.1", "met"], ["not measured", ""]]


def test_both_forms_of_a_page() -> None:
    table = Table(["a", "b", "c"], [["1|2", "x < y", "z"]], ("c",))
    page = Page("T & U", [Heading("H"), Text("see `a<b>` and **this** [there](x/README.md)"), Points(["p"]), table])
    assert markdown(page) == (
        "# T & U\n\n## H\n\nsee `a<b>` and **this** [there](x/README.md)\n\n- p\n\n"
        "| a | b | c |\n| --- | ---: | --- |\n| 1\\|2 | x < y | z |\n"
    )
    text = html(page)
    assert "<title>T &amp; U</title>" in text
    assert '<code>a&lt;b&gt;</code> and <strong>this</strong> <a href="x/index.html">there</a>' in text
    assert '<td>x &lt; y</td><td class="words">z</td>' in text


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [1e-9, 1e9], [-3.0, 5.0], [7.0, 7.0, 7.0]])
def test_plots_of_any_values(values: list[float]) -> None:
    points = [(float(x), y) for x, y in enumerate(values, start=1)]
    for log in (False, True) if min(values) > 0 else (False,):
        ET.fromstring(chart("t", Axis("x"), Axis("y", log=log), [Series("<s>", points)]))
    ET.fromstring(bars("t", "u", [Bar("n", max(0.0, value), "v & w") for value in values]))
