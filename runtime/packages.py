"""Extras of pyproject.toml, the packages that they bring, and the command that installs them."""

from __future__ import annotations

import os
from pathlib import Path

EXTRAS = {
    "accelerate": "train",
    "av": "video",
    "diffusers": "benchmark",
    "ml_dtypes": "export,engines",
    "onnx": "export,engines",
    "onnxscript": "export",
    "openvino": "cpp",
    "pi_heif": "heic",
    "polygraphy": "debug",
    "safetensors": "train,export,engines",
    "scipy": "benchmark",
    "skimage": "benchmark",
    "tensorboard": "train",
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt-rtx",
    "torch": "train,export,benchmark",
    "triton": "kernels",
}
"""Name of an imported package -> the extras that bring it."""
OWN = "shadowdiffusion"


def install_command(*extras: str) -> str:
    """The pip command that adds extras to this installation: of the checkout, if this is one, else of the package."""
    checkout = Path(__file__).resolve().parents[1]
    source = "shadowdiffusion"
    if (checkout / "pyproject.toml").is_file():
        source = "." if _is_current(checkout) else str(checkout)
    wanted = f"[{','.join(extras)}]" if extras else ""
    return f"pip install '{source}{wanted}'"


def missing_package(error: ImportError, *extras: str) -> str:
    """One line: which package is missing, and the command that installs it.

    Args:
        error: Of an import that failed.
        extras: What the caller needs in all; without any, the extra that brings the package is advised.

    Returns:
        The line, without "error: ".

    Raises:
        ImportError: `error` itself, if a module of this project is missing.
    """
    package = (error.name or "").split(".")[0]
    if package == OWN:
        raise error
    known = EXTRAS.get(package)
    needed = list(extras)
    if known and not set(known.split(",")) & set(needed):
        needed.append(known.split(",")[0])
    what = f"{package} is not installed" if isinstance(error, ModuleNotFoundError) else "a package cannot be imported"
    reason = "" if isinstance(error, ModuleNotFoundError) else f" ({' '.join(str(error).split())})"
    return f"{what}{reason}: {install_command(*needed)}"


def _is_current(folder: Path) -> bool:
    try:
        return os.path.samefile(folder, os.curdir)
    except OSError:
        return False
