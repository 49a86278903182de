"""From the name of a bundle to the Restorer that uses the best networks for this machine."""

import os
from collections.abc import Callable

from shadowdiffusion.runtime.bundle.engines import Device, Precision
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.restorer import Restorer
from shadowdiffusion.runtime.selection.selection import Backend, choose, to_stderr


def load(
    bundle: str | os.PathLike[str] | None = None,
    backend: Backend = "auto",
    device: Device = "auto",
    threads: int | None = None,
    say: Callable[[str], None] = to_stderr,
    precision: Precision | None = None,
    engine: str | None = None,
) -> Restorer:
    """Open a bundle and return its Restorer.

    bundle: a folder, a zip file, or the name of a built-in one ("shadow", "exposure", "low-light"), as
    `runtime.bundle.opening.locate` reads it; None: the built-in one for shadows.

    backend: "auto" (the best engine that fits this machine, else the portable graphs), "portable" (no engine), or
    "tensorrt", "tensorrt-rtx", "cpu-kernels" or "onnxruntime". device: "cpu", "cuda", or "auto" for CUDA where it can
    be used. threads: CPU threads, None for one per core, which is the most. `say` hears why engines are passed over.
    precision: of the engine, None for any; "fp32" is that of the portable graphs too. engine: its name.
    Raises RestoreError for a missing or damaged bundle, or an unavailable backend or device.
    """
    opened = load_bundle(bundle)
    return Restorer(opened, choose(opened, backend, device, threads, say, precision, engine))
