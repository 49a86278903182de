"""How photos are restored and written, the same for every photo of a run."""

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

from shadowdiffusion.runtime.bundle.folder import NETWORKS, ROWS, Bundle
from shadowdiffusion.runtime.errors import RestoreError
from shadowdiffusion.runtime.photo import Format
from shadowdiffusion.runtime.photo.background import parse_colour
from shadowdiffusion.runtime.photo.formats import LOSSY
from shadowdiffusion.runtime.restorer import check_strength


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
    background: str | None = None
    """`#rrggbb` below what is transparent, where a format has no transparency; None: such photos are refused."""
    strip_metadata: bool = False
    """Whether to leave out all that says who, where and when."""

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
        background: str | None = None,
        strip_metadata: bool = False,
    ) -> "Settings":
        """None stands for the bundle's own choice. Raises RestoreError for steps that it does not have, or a seed,
        strength or background that is none.
        """
        if not 0 <= seed < 1 << 64:
            raise RestoreError(f"seed {seed} is out of range: choose one from 0 to 2**64 - 1")
        check_strength(strength)
        bundle.table(steps)
        size = None if native else working_size or bundle.manifest.model.working_size
        steps = steps or bundle.manifest.sampling.default_steps
        colour = None if background is None else parse_colour(background)
        return cls(identity(bundle), steps, seed, strength, size, quality, colour, strip_metadata)

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of a Restorer."""
        size = {"native": True} if self.working_size is None else {"working_size": self.working_size}
        return {"steps": self.steps, "seed": self.seed, "strength": self.strength} | size

    def quality_in(self, form: Format) -> int | None:
        """The quality to write a format with."""
        return self.quality if form in LOSSY else None

    def record(self, form: Format | None) -> dict[str, Any]:
        """What a result in that format, None for a video, depends on, as JSON."""
        size = "native" if self.working_size is None else self.working_size
        fields: dict[str, Any] = {
            "steps": self.steps,
            "seed": self.seed,
            "strength": self.strength,
            "working_size": size,
        }
        if form is None or form in LOSSY:
            fields["quality"] = self.quality
        if form == "jpeg" and self.background is not None:
            fields["background"] = self.background
        if self.strip_metadata:
            fields["strip_metadata"] = True
        return fields


def identity(bundle: Bundle) -> str:
    """SHA-256, hexadecimal, of the networks, how they are run, and nothing else."""
    manifest = bundle.manifest
    files = {name: entry.sha256 for name, entry in manifest.files.items() if name in (*NETWORKS, ROWS)}
    parts = [manifest.model, manifest.sampling, files]
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()
