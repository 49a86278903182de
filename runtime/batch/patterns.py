"""Patterns of paths: `*`, `?` and `[...]` stand for parts of a name, `**` for any number of folders.

A name that is there wins over a pattern: `holiday [2024]/*.jpg` means the folder of that name.
"""

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal

Verdict = Literal["yes", "no", "below"]


def is_pattern(argument: str) -> bool:
    """Whether a path that is not there may be meant as a pattern."""
    return any(character in argument for character in "*?[")


def split(pattern: str) -> tuple[str, tuple[str, ...]]:
    """The folder that a pattern starts from ("" for the current one), and its parts below that."""
    parts = pattern.split("/")
    fixed = (not is_pattern(part) or os.path.isdir("/".join(parts[: index + 1])) for index, part in enumerate(parts))
    first = next((index for index, is_fixed in enumerate(fixed) if not is_fixed), len(parts) - 1)
    base = "/".join(parts[:first])
    if first and not base:
        base = "/"
    return base, tuple(part for part in parts[first:] if part)


def match(path: Sequence[str], pattern: Sequence[str]) -> Verdict:
    """Whether a path below the pattern's folder matches: "yes", also for what is inside of a folder that does; "below"
    for a folder that does not, but may hold something that does.
    """
    if not pattern:
        return "yes"
    if not path:
        return "below"
    if pattern[0] == "**":
        verdicts = [match(path[skipped:], pattern[1:]) for skipped in range(len(path) + 1)]
        return "yes" if "yes" in verdicts else "below"
    same = path[0] == pattern[0] or fnmatchcase(path[0], pattern[0])
    return match(path[1:], pattern[1:]) if same else "no"
