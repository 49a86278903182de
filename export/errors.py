"""The one exception family of the `export` folder."""

from __future__ import annotations


class ExportError(Exception):
    """Something a user of `export` can act on.

    The message says what was wrong, with which value, and what to do; the command line prints it as one line.
    """
