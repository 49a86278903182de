"""The one exception family of the runtime: every message says what was wrong, with which value, and what to
do.
"""

import logging
import warnings

__all__ = ["BundleError", "OutOfMemoryError", "PhotoError", "RestoreError", "tell"]


class RestoreError(Exception):
    """Something the caller can act on went wrong; `str(error)` is one readable line."""


class BundleError(RestoreError):
    """A bundle is missing, damaged, of an unknown format version, or not what its manifest says."""


class PhotoError(RestoreError):
    """A photo or mask cannot be read, is not usable, or cannot be written."""


class OutOfMemoryError(RestoreError):
    """An image was too large for the memory of this machine, or of its GPU; a smaller one may fit."""


def tell(text: str, stacklevel: int = 1) -> None:
    """Warn of something, and end nothing: where warnings are errors (PYTHONWARNINGS=error), it is logged instead.

    Args:
        text: One line.
        stacklevel: As of `warnings.warn`.
    """
    try:
        warnings.warn(text, stacklevel=stacklevel + 1)
    except UserWarning:
        logging.getLogger("shadowdiffusion").warning(text)
