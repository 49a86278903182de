"""The one exception family of the runtime: every message says what was wrong, with which value, and what to
do.
"""

__all__ = ["BundleError", "PhotoError", "RestoreError"]


class RestoreError(Exception):
    """Something the caller can act on went wrong; `str(error)` is one readable line."""


class BundleError(RestoreError):
    """A bundle is missing, damaged, of an unknown format version, or not what its manifest says."""


class PhotoError(RestoreError):
    """A photo or mask cannot be read, is not usable, or cannot be written."""
