"""What a report page consists of, however it is written. Texts may hold `code`, **bold** and [links](to)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Heading:
    """level: 2 or 3; the title of the page is 1."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Points:
    """Lines of a bulleted list."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Cells as text; all columns but the first are aligned to the right, unless `words` names them."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[str] = ()


@dataclass(frozen=True)
class Figure:
    """An SVG in a file of its own. name: of the file, without its ending; alt: what it shows."""

    name: str
    svg: str
    alt: str


Block = Heading | Text | Points | Table | Figure


@dataclass(frozen=True)
class Page:
    """title, and everything below it."""

    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)

    @property
    def figures(self) -> dict[str, str]:
        """Files of the page's plots: name with ending -> SVG."""
        return {f"{block.name}.svg": block.svg for block in self.blocks if isinstance(block, Figure)}
