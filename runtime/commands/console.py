"""What the command line prints for people: one line at a time, whatever the names in it are made of."""

import sys
import unicodedata
from contextlib import suppress
from io import TextIOWrapper

import typer


def one_line(text: str) -> str:
    """`text` with all escaped that would break the line or the terminal: control characters, and the bytes of file
    names that are not UTF-8, which Python holds as lone surrogates.
    """
    return "".join(map(_visible, text.strip()))


def complain(message: str, kind: str = "error") -> None:
    """Print a line on stderr that says of what kind it is; where nobody can read it, that is no further error."""
    with suppress(OSError):
        typer.echo(f"{kind}: {one_line(message)}", err=True)


def survive_any_name() -> None:
    """Let stdout and stderr escape what their encoding does not have, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _visible(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    if "\udc80" <= character <= "\udcff":  # a byte that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
