"""Open a bundle wherever it is: the built-in one, a folder, or a zip file."""

import os
from pathlib import Path

from runtime.bundle.archive import unpack
from runtime.bundle.folder import DEFAULT_BUNDLE, MANIFEST, Bundle, Task, load_folder
from runtime.errors import BundleError


def load_bundle(path: str | os.PathLike[str] | None = None) -> Bundle:
    """Open and verify a bundle: a folder, a zip file of one (see `runtime.bundle.archive`), or None, the built-in one.

    Raises BundleError when it is missing, of another format version, malformed or damaged.
    """
    root = DEFAULT_BUNDLE if path is None else Path(path)
    if root.is_file():
        root = unpack(root)
    if not root.is_dir():
        if path is None:
            missing = f"this installation has no built-in bundle ({root} is absent)"
            raise BundleError(f"{missing}: name one with --bundle BUNDLE")
        raise BundleError(f"bundle {root} does not exist: name a folder that holds a {MANIFEST}, or a zip file of one")
    return load_folder(root)


def built_in(task: Task) -> Path:
    """The bundle for a task that comes with this installation. Raises BundleError if there is none."""
    folder = DEFAULT_BUNDLE.parent
    if not (folder / task / MANIFEST).is_file():
        have = ", ".join(sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}"))) or "none"
        raise BundleError(
            f"there is no built-in bundle for {task} (there is: {have}): name your own with --bundle BUNDLE"
        )
    return folder / task
