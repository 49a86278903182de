"""Whether an engine is for this machine: its key is compared with what the key would be if it were built here."""

import importlib
from dataclasses import dataclass, field

import msgspec

from shadowdiffusion.runtime.bundle.device import Gpu, find_cpu, find_gpu
from shadowdiffusion.runtime.bundle.engines import BackendName, EngineKey, differences, network_digests
from shadowdiffusion.runtime.bundle.folder import Bundle

MODULES: dict[BackendName, str] = {
    "tensorrt": "tensorrt",
    "tensorrt-rtx": "tensorrt_rtx",
    "cpu-kernels": "shadowdiffusion.runtime.backends.cpu_library",
    "onnxruntime": "onnxruntime",
}
AMPERE = 80
"""Smallest SM on which hardware-compatible engines of TensorRT run."""


@dataclass(frozen=True)
class Machine:
    """What engines depend on beside the bundle."""

    gpu: Gpu | None
    cpu: str
    _versions: dict[BackendName, str | None] = field(default_factory=dict)

    def version(self, backend: BackendName) -> str | None:
        """Version of an installed backend, which this imports, or None."""
        if backend not in self._versions:
            try:
                self._versions[backend] = str(importlib.import_module(MODULES[backend]).__version__)
            except (ImportError, AttributeError, OSError):
                self._versions[backend] = None
        return self._versions[backend]

    def device(self, key: EngineKey) -> str | None:
        """What an engine of that key would run on here, driver included; None for a GPU that is not here."""
        if key.provider == "cpu":
            return self.cpu
        return self.graphics

    @property
    def graphics(self) -> str | None:
        """The GPU, if there is one, driver included."""
        return f"{self.gpu.name}, SM {self.gpu.sm}, driver {self.gpu.driver}" if self.gpu else None


def this_machine() -> Machine:
    """The machine that this runs on."""
    return Machine(find_gpu(), find_cpu())


def misfits(key: EngineKey, bundle: Bundle, machine: Machine) -> list[str]:
    """In which fields the key of an engine differs from the bundle and the machine, as far as that is known here."""
    changes: dict[str, object] = {"onnx": network_digests(bundle)}
    version = machine.version(key.backend)
    if version is not None and not _reads(key, version):
        changes["backend_version"] = version
    if key.provider == "cpu":
        if key.device is not None:
            changes["device"] = machine.cpu
    elif machine.gpu and not ("hardware-compatible" in key.flags and machine.gpu.sm >= AMPERE):
        if key.sm and machine.gpu.sm not in key.sm:
            changes["sm"] = [machine.gpu.sm]
        if key.device is not None:
            changes["device"] = machine.gpu.name
        if key.driver is not None:
            changes["driver"] = machine.gpu.driver
    return differences(key, msgspec.structs.replace(key, **changes))


def _reads(key: EngineKey, version: str) -> bool:
    """Whether the installed version of a backend reads engines of the key's version."""
    if "version-compatible" not in key.flags:
        return version == key.backend_version
    built, installed = (_numbers(text) for text in (key.backend_version, version))
    return built[:1] == installed[:1] and built <= installed


def _numbers(version: str) -> list[int]:
    return [int(part) if part.isdigit() else 0 for part in version.split(".")]
