"""From the name of a bundle to the Restorer that uses the best networks for this machine."""

import os
from collections.abc import Callable

from runtime.opening import load_bundle
from runtime.restorer import Restorer
from runtime.selection import Backend, choose, to_stderr


def load(
    bundle: str | os.PathLike[str] | None = None,
    backend: Backend = "auto",
    threads: int | None = None,
    say: Callable[[str], None] = to_stderr,
) -> Restorer:
    """Open a bundle folder (None: the built-in one) and return its Restorer.

    backend: "auto" (the best engine that fits this machine, else CUDA if ONNX Runtime offers it, else the CPU),
    "cpu" or "cuda" (without engines), or the backend of an engine. threads: CPU threads, None for one per core.
    `say` hears why engines are passed over. Raises RestoreError for a missing or damaged bundle, or an unavailable
    backend.
    """
    opened = load_bundle(bundle)
    return Restorer(opened, choose(opened, backend, threads, say))
