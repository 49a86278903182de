"""A page as one HTML file that needs nothing else: plots inside, light or dark as the system is, for phones too."""

from __future__ import annotations

import re
from html import escape

from shadowdiffusion.benchmarks.pages.blocks import Block, Figure, Heading, Page, Points, Table, Text

STYLE = """\
:root { color-scheme: light dark; --page: #fcfcfb; --ink: #1b1b1a; --soft: #6a6a67; --rule: #dcdcd8; --code: #efefec;
  --link: #0b5cad }
@media (prefers-color-scheme: dark) { :root { --page: #161617; --ink: #e8e8e6; --soft: #a0a09c; --rule: #3a3a3b;
  --code: #26262a; --link: #7db8f2 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; line-height: 1.2 } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--rule) }
a { color: var(--link) } code { background: var(--code); padding: 0 .25em; border-radius: 3px; font-size: .9em }
figure { margin: 1rem 0; overflow-x: auto } figure svg { display: block; width: 100%; max-width: 42rem; height: auto }
.wide { overflow-x: auto; margin: 1rem 0 }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap }
th { color: var(--soft); font-weight: 600 }
th:first-child, td:first-child, .words { text-align: left }
td.words { white-space: normal; min-width: 12rem }
"""


def html(page: Page) -> str:
    """The whole file."""
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(page.title)}</title>",
        f"<style>\n{STYLE}</style></head>",
        f"<body>\n<h1>{_inline(page.title)}</h1>",
        *(_block(block) for block in page.blocks),
        "</body>\n</html>",
    ]
    return "\n".join(parts) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Text(text):
            return f"<p>{_inline(text)}</p>"
        case Points(lines):
            return "<ul>\n" + "\n".join(f"<li>{_inline(line)}</li>" for line in lines) + "\n</ul>"
        case Figure(_, svg, _):
            return f"<figure>{svg.strip()}</figure>"
        case Table():
            return _table(block)


def _table(table: Table) -> str:
    def row(cells: list[str], tag: str) -> str:
        words = [' class="words"' if name in table.words else "" for name in table.head]
        inside = "".join(f"<{tag}{word}>{_inline(cell)}</{tag}>" for cell, word in zip(cells, words, strict=True))
        return f"<tr>{inside}</tr>"

    body = "\n".join(row(list(cells), "td") for cells in table.rows)
    head = row(list(table.head), "th")
    return f'<div class="wide"><table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _inline(text: str) -> str:
    """Code, bold and links; links to a README lead to the page beside it."""
    found = escape(text, quote=False)
    found = re.sub(r"`([^`]+)`", r"<code>\1</code>", found)
    found = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", found)

    def link(match: re.Match[str]) -> str:
        target = re.sub(r"README\.md$", "index.html", match[2])
        return f'<a href="{escape(target)}">{match[1]}</a>'

    return re.sub(r"\[([^\]]+)\]\(([^)]+)\)", link, found)
