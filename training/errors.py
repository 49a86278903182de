"""The one exception family of the `training` folder."""

from __future__ import annotations


class TrainingError(Exception):
    """Something a user of `training` can act on.

    The message says what was wrong, with which value, and what to do; the command line prints it as one line.
    """
