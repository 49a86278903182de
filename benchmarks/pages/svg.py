"""Plots as SVG text, light or dark as the reader's system is; the same data give the same bytes.

Colours are those of Okabe and Ito, told apart with any kind of colour vision; series differ in their marks as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, isclose, log10

WIDTH, HEIGHT = 540, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 22, 40, 54
LIGHT = ("#0072b2", "#d55e00", "#008a64", "#b3488f", "#8a6d00", "#3a8fbf", "#555555", "#a34700")
DARK = ("#56b4e9", "#f08a4b", "#2fc597", "#e08cc4", "#e6c229", "#9ad1f5", "#b5b5b5", "#ffb27a")
MARKS = ("circle", "square", "diamond", "triangle")


@dataclass(frozen=True)
class Series:
    """Points (x, y), joined in their order unless `scattered`, which have a label each."""

    name: str
    points: Sequence[tuple[float, float]]
    labels: Sequence[str] = ()
    scattered: bool = False


@dataclass(frozen=True)
class Axis:
    """title: with its unit. log: logarithmic, which needs positive values. zero: begins at zero."""

    title: str
    log: bool = False
    zero: bool = True


@dataclass(frozen=True)
class Bar:
    """One bar. low, high: of an interval around its value. group: bars of one group share a colour."""

    name: str
    value: float
    text: str
    low: float | None = None
    high: float | None = None
    group: int = 0


def chart(title: str, x: Axis, y: Axis, series: Sequence[Series]) -> str:
    """Lines or scattered points, at least one."""
    across = _Scale(x, [point[0] for one in series for point in one.points], LEFT, WIDTH - RIGHT)
    rows = (len(series) + 1) // 2 if len(series) > 1 else 0
    height = HEIGHT + (6 + 18 * rows if rows else 0)
    up = _Scale(y, [point[1] for one in series for point in one.points], HEIGHT - BOTTOM, TOP)
    parts = [_grid(across, up, x, y)]
    for number, one in enumerate(series):
        places = [(across.at(a), up.at(b)) for a, b in one.points]
        if not one.scattered and len(places) > 1:
            parts.append(
                f'<polyline class="l s{number % 8}" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in places)}"/>'
            )
        parts += [_mark(number, *place) for place in places]
        for (a, b), label in zip(places, one.labels, strict=False):
            left = a > WIDTH - 170
            anchor, shift = ("end", -8) if left else ("start", 8)
            parts.append(
                f'<text class="n" x="{a + shift:.1f}" y="{b + 4:.1f}" text-anchor="{anchor}">{escape(label)}</text>'
            )
    for number, one in enumerate(series if rows else ()):
        a, b = LEFT + (number % 2) * 230, HEIGHT + 6 + 18 * (number // 2)
        parts.append(_mark(number, a, b - 4))
        parts.append(f'<text class="n" x="{a + 10}" y="{b}">{escape(one.name)}</text>')
    return _svg(title, height, parts)


def bars(title: str, unit: str, found: Sequence[Bar]) -> str:
    """Horizontal bars from zero, one below the other, with their texts."""
    left, room, step = 176, 156, 26
    most = max(bar.high or bar.value for bar in found)
    height = TOP + step * len(found) + 40

    def at(value: float) -> float:
        return left + (WIDTH - room - left) * max(0.0, value) / (most or 1.0)

    parts = [f'<line class="g" x1="{left}" y1="{TOP}" x2="{left}" y2="{height - 34}"/>']
    for place, bar in enumerate(found):
        top = TOP + step * place + 4
        parts.append(f'<text class="n" x="{left - 8}" y="{top + 13}" text-anchor="end">{escape(bar.name)}</text>')
        width = at(bar.value) - left
        parts.append(f'<rect class="f{bar.group % 8}" x="{left}" y="{top}" width="{width:.1f}" height="{step - 8}"/>')
        end = at(bar.value)
        if bar.low is not None and bar.high is not None:
            low, end, middle = at(bar.low), at(bar.high), top + (step - 8) / 2
            parts.append(f'<line class="i" x1="{low:.1f}" y1="{middle}" x2="{end:.1f}" y2="{middle}"/>')
        parts.append(f'<text class="n" x="{end + 8:.1f}" y="{top + 13}">{escape(bar.text)}</text>')
    parts.append(f'<text class="a" x="{left}" y="{height - 12}">{escape(unit)}</text>')
    return _svg(title, height, parts)


class _Scale:
    """From values to pixels, with ticks at round values."""

    def __init__(self, axis: Axis, values: Sequence[float], start: float, end: float) -> None:
        low, high = min(values), max(values)
        self._log, self._start, self._end = axis.log, start, end
        if axis.log:
            self.ticks = _log_ticks(low, high)
        else:
            self.ticks = _ticks(min(low, 0.0) if axis.zero else low, high)
        self._low, self._high = self._of(self.ticks[0]), self._of(self.ticks[-1])

    def at(self, value: float) -> float:
        part = (self._of(value) - self._low) / ((self._high - self._low) or 1.0)
        return self._start + part * (self._end - self._start)

    def _of(self, value: float) -> float:
        return log10(value) if self._log else value


def _ticks(low: float, high: float) -> list[float]:
    """About five round values that enclose both."""
    span = (high - low) or abs(high) or 1.0
    rough = span / 5
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [step * number for number in range(first, max(last, first + 1) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten that enclose both; fewer where they would be too many."""
    powers = range(floor(log10(low)) - 1, ceil(log10(high)) + 2)
    for factors in ((1, 2, 5), (1,)):
        every = [factor * 10.0**power for power in powers for factor in factors]
        first = max(number for number, value in enumerate(every) if value <= low * 1.0001)
        last = min(number for number, value in enumerate(every) if value >= high * 0.9999)
        found = every[first : max(last, first + 1) + 1]
        if len(found) <= 9:
            break
    return found


def _grid(across: _Scale, up: _Scale, x: Axis, y: Axis) -> str:
    base, end = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for tick in across.ticks:
        place = across.at(tick)
        parts.append(f'<line class="g" x1="{place:.1f}" y1="{TOP}" x2="{place:.1f}" y2="{base}"/>')
        parts.append(f'<text class="n" x="{place:.1f}" y="{base + 18}" text-anchor="middle">{_number(tick)}</text>')
    for tick in up.ticks:
        place = up.at(tick)
        parts.append(f'<line class="g" x1="{LEFT}" y1="{place:.1f}" x2="{end}" y2="{place:.1f}"/>')
        parts.append(f'<text class="n" x="{LEFT - 8}" y="{place + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
    middle = (TOP + base) / 2
    parts.append(
        f'<text class="a" x="{(LEFT + end) / 2:.0f}" y="{base + 40}" text-anchor="middle">{escape(x.title)}</text>'
    )
    turned = f'transform="rotate(-90 18 {middle:.0f})" text-anchor="middle"'
    parts.append(f'<text class="a" x="18" y="{middle:.0f}" {turned}>{escape(y.title)}</text>')
    return "\n".join(parts)


def _mark(number: int, x: float, y: float) -> str:
    style, kind = f"m{number % 8}", MARKS[number % len(MARKS)]
    shapes = {
        "circle": f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>',
        "square": f'<rect class="{style}" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>',
        "diamond": f'<path class="{style}" d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6-6z"/>',
        "triangle": f'<path class="{style}" d="M{x:.1f} {y - 6:.1f}l6 10h-12z"/>',
    }
    return shapes[kind]


def _number(value: float) -> str:
    if isclose(value, 0, abs_tol=1e-12):
        return "0"
    for limit, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    def colours(page: str, ink: str, soft: str, rule: str, palette: Sequence[str]) -> str:
        one = ".plot .s{0} {{ stroke: {1} }} .plot .m{0}, .plot .f{0} {{ fill: {1} }}"
        series = " ".join(one.format(number, colour) for number, colour in enumerate(palette))
        text = f".plot .t {{ fill: {ink} }} .plot .n, .plot .a {{ fill: {soft} }}"
        lines = f".plot .g {{ stroke: {rule} }} .plot .i {{ stroke: {ink} }}"
        return f".plot .p {{ fill: {page} }} {text} {lines} {series}"

    style = (
        ".plot { font: 13px system-ui, sans-serif } .plot .t { font-size: 15px; font-weight: 600 } "
        ".plot .l { fill: none; stroke-width: 2 } .plot .i { stroke-width: 1.5 }\n"
        f"{colours('#fcfcfb', '#1b1b1a', '#5f5f5c', '#e2e2de', LIGHT)}\n"
        f"@media (prefers-color-scheme: dark) {{ {colours('#161617', '#e8e8e6', '#a8a8a4', '#37373a', DARK)} }}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {WIDTH} {height:.0f}" role="img">'
    name = f"<title>{escape(title)}</title><style>{style}</style>"
    page = (
        f'<rect class="p" width="{WIDTH}" height="{height:.0f}"/><text class="t" x="16" y="22">{escape(title)}</text>'
    )
    return "\n".join([head, name, page, *parts, "</svg>"]) + "\n"
