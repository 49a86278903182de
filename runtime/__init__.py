"""The lean runtime: restores photos with an exported bundle; needs neither PyTorch nor a GPU.

>>> from shadowdiffusion import runtime
>>> restorer = runtime.load()
>>> restored = restorer("photo.jpg")

Names load on first use, so that importing the package (and `--help`) costs nothing.
"""

import os
from typing import TYPE_CHECKING, Any

TELEMETRY_OFF = "ORT_DISABLE_TELEMETRY"
"""ONNX Runtime sends telemetry from 1.32 on, and begins when it is imported: this comes first (docs/privacy.md)."""
os.environ.setdefault(TELEMETRY_OFF, "1")

if TYPE_CHECKING:
    from shadowdiffusion.runtime.errors import RestoreError
    from shadowdiffusion.runtime.restorer import Restorer
    from shadowdiffusion.runtime.selection.loading import load
    from shadowdiffusion.runtime.working_photo import Restored

__all__ = ["RestoreError", "Restored", "Restorer", "load"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'runtime' has no attribute {name!r}")
    if name == "RestoreError":
        from shadowdiffusion.runtime import errors

        return errors.RestoreError
    if name == "load":
        from shadowdiffusion.runtime.selection import loading

        return loading.load
    from shadowdiffusion.runtime import restorer, working_photo

    return getattr(restorer if name == "Restorer" else working_photo, name)
