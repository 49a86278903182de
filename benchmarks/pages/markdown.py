"""A page as Markdown, its plots as files beside it."""

from __future__ import annotations

from shadowdiffusion.benchmarks.pages.blocks import Block, Figure, Heading, Page, Points, Table, Text


def markdown(page: Page) -> str:
    """The whole file."""
    return "\n\n".join([f"# {page.title}", *(_block(block) for block in page.blocks)]) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Text(text):
            return text
        case Points(lines):
            return "\n".join(f"- {line}" for line in lines)
        case Figure(name, _, alt):
            return f"![{alt}]({name}.svg)"
        case Table(head, rows, words):
            ruler = ["---", *("---" if name in words else "---:" for name in head[1:])]
            return "\n".join(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in (head, ruler, *rows))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
