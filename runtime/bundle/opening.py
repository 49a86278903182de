"""Open a bundle wherever it is: a built-in one by its name, a folder, or a zip file."""

import os
from pathlib import Path

from shadowdiffusion.runtime.bundle.archive import unpack
from shadowdiffusion.runtime.bundle.folder import DEFAULT_BUNDLE, MANIFEST, Bundle, Task, load_folder
from shadowdiffusion.runtime.errors import BundleError


def load_bundle(path: str | os.PathLike[str] | None = None) -> Bundle:
    """Open and verify a bundle.

    Args:
        path: a folder, a zip file of one (see `runtime.bundle.archive`), or the name of a built-in bundle, as
            `locate` reads it; None: the built-in one for shadows.

    Raises:
        BundleError: the bundle is missing, of another format version, malformed or damaged.
    """
    root = DEFAULT_BUNDLE if path is None else locate(path)
    if root.is_file():
        root = unpack(root)
    if not root.is_dir():
        if path is None:
            missing = f"this installation has no built-in bundle ({root} is absent)"
            raise BundleError(f"{missing}: name one with --bundle BUNDLE")
        names = ", ".join(_names())
        known = f", or a built-in bundle ({names})" if names else ""
        raise BundleError(
            f"bundle {root} does not exist: name a folder that holds a {MANIFEST}, a zip file of one{known}"
        )
    return load_folder(root)


def locate(path: str | os.PathLike[str]) -> Path:
    """The folder or file that `path` means.

    A plain word such as "low-light" is a built-in bundle, unless the current folder has a bundle of that name (a file,
    or a folder that holds a manifest.json), which goes first. Everything else is a path, which need not exist.
    """
    given = Path(path)
    own = given.is_file() or (given / MANIFEST).is_file()
    return given if own or os.fspath(path) not in _names() else DEFAULT_BUNDLE.parent / given


def built_in(task: Task) -> Path:
    """The bundle for a task that comes with this installation. Raises BundleError if there is none."""
    if task not in _names():
        have = ", ".join(_names()) or "none"
        raise BundleError(
            f"there is no built-in bundle for {task} (there is: {have}): name your own with --bundle BUNDLE"
        )
    return DEFAULT_BUNDLE.parent / task


def _names() -> list[str]:
    """The built-in bundles of this installation."""
    return sorted(path.parent.name for path in DEFAULT_BUNDLE.parent.glob(f"*/{MANIFEST}"))
