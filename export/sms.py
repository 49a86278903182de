"""Compute capabilities on the command line: --sm 89 120, --sm 89,120 and --sm 89 --sm 120 are the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

from shadowdiffusion.export.commands.console import fail


class SmCommand(TyperCommand):
    """Takes the numbers that follow --sm as its values, wherever it stands: --sm 80 86 89."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the base class does, with the SMs joined."""
        return super().parse_args(ctx, join_sms(args))


def join_sms(arguments: Sequence[str]) -> list[str]:
    """["--sm", "80", "86", "B"] -> ["--sm", "80,86", "B"]: a folder whose name is a number is written ./86."""
    joined, taking = list[str](), False
    for argument in arguments:
        number = re.fullmatch(r"[0-9][0-9.,]*", argument) is not None
        if number and taking:
            joined[-1] += f",{argument}"
            continue
        taking = argument.startswith("--sm=") or (number and joined[-1:] == ["--sm"])
        joined.append(argument)
    return joined


def sm_list(texts: Sequence[str]) -> tuple[int, ...]:
    """The numbers in the values of --sm. Ends the command for anything else."""
    parts = [part for text in texts for part in text.replace(",", " ").split()]
    if wrong := [part for part in parts if not (part.isascii() and part.isdigit())]:
        fail(f"SM {wrong[0]!r} is not a compute capability such as 89 (for 8.9)")
    return tuple(map(int, parts))
