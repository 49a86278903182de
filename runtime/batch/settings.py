"""How photos are restored and written, the same for every photo of a run."""

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

from runtime.bundle.folder import NETWORKS, ROWS, Bundle
from runtime.errors import RestoreError
from runtime.photo import Format
from runtime.photo.formats import LOSSY
from runtime.restorer import check_strength


@dataclass(frozen=True)
class Settings:
    """What the command line says, with the bundle's choices filled in."""

    bundle: str
    """Stands for everything in the bundle that a result depends on."""
    steps: int
    seed: int
    strength: float
    working_size: int | None
    """None: the photo's own size."""
    quality: int | None
    """Of lossy files; None: the usual."""

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        steps: int | None = None,
        seed: int = 0,
        strength: float = 1.0,
        working_size: int | None = None,
        native: bool = False,
        quality: int | None = None,
    ) -> "Settings":
        """None stands for the bundle's own choice. Raises RestoreError for steps that it does not have, or a seed or
        strength that is none.
        """
        if not 0 <= seed < 1 << 64:
            raise RestoreError(f"seed {seed} is out of range: choose one from 0 to 2**64 - 1")
        check_strength(strength)
        bundle.table(steps)
        size = None if native else working_size or bundle.manifest.model.working_size
        steps = steps or bundle.manifest.sampling.default_steps
        return cls(identity(bundle), steps, seed, strength, size, quality)

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of a Restorer."""
        size = {"native": True} if self.working_size is None else {"working_size": self.working_size}
        return {"steps": self.steps, "seed": self.seed, "strength": self.strength} | size

    def quality_in(self, form: Format) -> int | None:
        """The quality to write a format with."""
        return self.quality if form in LOSSY else None

    def record(self, form: Format) -> dict[str, Any]:
        """What a result in that format depends on, as JSON."""
        size = "native" if self.working_size is None else self.working_size
        fields = {"steps": self.steps, "seed": self.seed, "strength": self.strength, "working_size": size}
        return fields | ({"quality": self.quality} if form in LOSSY else {})


def identity(bundle: Bundle) -> str:
    """SHA-256, hexadecimal, of the networks, how they are run, and nothing else."""
    manifest = bundle.manifest
    files = {name: entry.sha256 for name, entry in manifest.files.items() if name in (*NETWORKS, ROWS)}
    parts = [manifest.model, manifest.sampling, files]
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()
