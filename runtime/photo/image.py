"""A decoded photo: pixels in the file's own colours, and everything that travels with them."""

from dataclasses import dataclass, field, replace

from shadowdiffusion.runtime.photo.colour import Array, from_srgb, to_srgb
from shadowdiffusion.runtime.photo.metadata import ICC, Metadata
from shadowdiffusion.runtime.photo.pixels import Pixels


@dataclass(frozen=True)
class Photo:
    """A decoded photo, upright."""

    pixels: Pixels
    """uint8 or uint16, [H, W] (grey) or [H, W, 3]."""
    alpha: Pixels | None = None
    """[H, W] of the same type, carried over untouched."""
    metadata: Metadata = field(default_factory=dict)
    resolution: tuple[float, float] = (1.0, 1.0)
    """Pixels per millimetre, horizontally and vertically."""
    profile: bytes | None = None
    """The ICC profile that says what colours the pixels are; None for sRGB, which may have a profile in `metadata`."""
    name: str = ""
    """What messages call it, "" where nothing is known."""
    notes: tuple[str, ...] = ()
    """What was changed or left out as the photo was read, each a phrase about "it" for people."""

    def stripped(self) -> "Photo":
        """Without anything that travels along but the colour profile, which the pixels need."""
        return replace(self, metadata={name: value for name, value in self.metadata.items() if name == ICC})

    def to_srgb(self, values: Array) -> Array:
        """What the networks see: float32 [h, w, 1 or 3] in [0, 1], the photo's pixels at any size -> sRGB-encoded
        [h, w, 3].
        """
        return to_srgb(values, self.profile)

    def from_srgb(self, colours: Array) -> Array:
        """The inverse: sRGB-encoded float32 [h, w, 3] in [0, 1] -> the photo's own encoding, with as many bands."""
        return from_srgb(colours, self.profile, 1 if self.pixels.ndim == 2 else self.pixels.shape[2])
