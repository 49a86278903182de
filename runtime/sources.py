"""Photos, masks and clean estimates from any source: files, arrays, images of PIL, tensors."""

import os
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo import WHOLE, Photo, read_photo, usable_pixels
from shadowdiffusion.runtime.photo.metadata import ICC, Metadata
from shadowdiffusion.runtime.photo.reading import usable_profile

Pixels = npt.NDArray[Any]


@runtime_checkable
class Readable(Protocol):
    """A file that is open for reading bytes."""

    def read(self) -> bytes:
        """Everything up to the end."""


@runtime_checkable
class Exchangeable(Protocol):
    """An array of another library: a tensor of PyTorch, for one."""

    def __dlpack__(self, **options: Any) -> Any:
        """Its memory."""


@runtime_checkable
class Image(Protocol):
    """An image of PIL, or what else offers its pixels as NumPy does."""

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """Its memory."""


Source = str | os.PathLike[str] | bytes | Photo | Pixels | Readable | Exchangeable | Image
"""A file by its path, its bytes or opened for reading them; a decoded photo; an image of PIL; or an array, or tensor on
the CPU, of uint8, uint16 or float in [0, 1], shaped [H, W, 3] or [H, W]."""

ACCEPTED = "a path, bytes, a file opened in binary mode, an array or CPU tensor [height, width, 3], or an image of PIL"
ORIENTATION = 0x0112
"""The EXIF tag that says how a camera was held."""


def as_photo(source: Source, what: str) -> Photo:
    """Decode a photo, mask or clean estimate from any source.

    Args:
        source: Of any kind that `Source` lists.
        what: Its role, "photo", "mask" or "clean estimate", for messages.

    Returns:
        The photo, upright, its pixels uint8, uint16 or float in [0, 1]. Floats that miss [0, 1] by rounding are
        clipped.

    Raises:
        PhotoError: The source is of another kind, damaged, or no image.
    """
    if isinstance(source, Photo):
        photo = source
    elif isinstance(source, str | os.PathLike):
        photo = read_photo(source, name=_name(what, os.fspath(source)))
    elif isinstance(source, bytes | bytearray | memoryview):
        photo = read_photo(bytes(source), name=f"the {what}")
    elif isinstance(source, np.ndarray):
        photo = _of_array(np.asarray(source), what)
    elif hasattr(source, "getbands") and hasattr(source, "getexif"):
        photo = _of_pil(source, what)
    elif isinstance(source, Exchangeable):
        photo = _of_array(_exchanged(source, what), what)
    elif isinstance(source, Image):
        photo = _of_array(np.asarray(source), what)
    elif isinstance(source, Readable):
        photo = _of_file(source, what)
    else:
        raise PhotoError(f"the {what} is a {type(source).__name__}: pass {ACCEPTED}")
    pixels = usable_pixels(photo.pixels, photo.name or f"the {what}")
    return photo if pixels is photo.pixels else replace(photo, pixels=pixels)


def _name(what: str, path: str) -> str:
    return path if what == "photo" else f"{what} {path}"


def _of_array(array: Pixels, what: str) -> Photo:
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        order = "[channels, height, width]"
        wanted = "[height, width]" if what == "mask" else "[height, width, 3]"
        raise PhotoError(f"the {what} has shape {array.shape}: pass {wanted}, not {order} (permute(1, 2, 0))")
    if what == "mask" and array.ndim == 3 and array.shape[2] in (2, 4):
        return Photo(array[..., :-1], array[..., -1])
    return Photo(array)


def _exchanged(source: Exchangeable, what: str) -> Pixels:
    try:
        return np.from_dlpack(source)
    except Exception as error:  # each library has its own for memory of a GPU, gradients, and types
        kind, why = type(source).__name__, " ".join(str(error).split())
        hint = "pass .detach().cpu() of it, as uint8, uint16 or float32"
        raise PhotoError(f"the {what} is a {kind} that NumPy cannot read ({why}): {hint}") from error


def _of_file(source: Readable, what: str) -> Photo:
    path = getattr(source, "name", None)
    name = _name(what, path) if isinstance(path, str) else f"the {what}"
    try:
        data = source.read()
    except (OSError, ValueError) as error:  # ValueError: it is closed, or its text is none
        raise PhotoError(f"cannot read {name}: {' '.join(str(error).split())}") from error
    if not isinstance(data, bytes | bytearray | memoryview):
        raise PhotoError(f"{name} gives {type(data).__name__} instead of bytes: open the file in binary mode")
    return read_photo(bytes(data), name=name)


def _of_pil(image: Any, what: str) -> Photo:
    path = getattr(image, "filename", "")
    name = _name(what, path) if isinstance(path, str) and path else f"the {what}"
    try:
        image.load()
        orientation = image.getexif().get(ORIENTATION, 1)  # only now: what a decoder applies itself is no longer there
        pixels, alpha = _bands(image, name)
    except PhotoError:
        raise
    except Exception as error:  # PIL raises whatever a decoder does
        raise PhotoError(f"{name} is damaged or cut short: {' '.join(str(error).split())}") from error
    pixels = _upright(pixels, orientation)
    embedded = image.info.get("icc_profile")
    metadata: Metadata = {ICC: (0, embedded)} if embedded else {}
    profile, notes = usable_profile(metadata, 1 if pixels.ndim == 2 else 3, name)
    transparency = None if alpha is None else _upright(alpha, orientation)
    return Photo(pixels, transparency, profile=profile, name=name, notes=tuple(notes))


def _bands(image: Any, name: str) -> tuple[Pixels, Pixels | None]:
    """Pixels [H, W] or [H, W, 3] and alpha of an image of PIL, as they would be read from its file."""
    mode = image.mode
    if mode == "1":
        mode = "L"
    elif mode in ("P", "PA", "La", "RGBa"):
        mode = "LA" if mode == "La" else "RGBA" if mode != "P" or "transparency" in image.info else "RGB"
    if mode != image.mode:
        image = image.convert(mode)
    array = np.asarray(image)
    if mode in ("LA", "RGBA"):
        return array[..., 0] if mode == "LA" else np.ascontiguousarray(array[..., :3]), array[..., -1]
    if mode == "I" and image.format == "PNG" and array.min() >= 0 and array.max() <= WHOLE["uint16"]:
        # older versions open a PNG of 16 bits so; of any other image of this mode the white value is not known
        return array.astype(np.uint16), None
    if mode in ("L", "RGB", "F") or mode.startswith("I;16"):
        return array.astype(array.dtype.newbyteorder("=")), None
    raise PhotoError(f'{name} is an image of PIL of mode {mode}: pass image.convert("RGB")')


def _upright(array: Pixels, orientation: Any) -> Pixels:
    """EXIF orientations: 2 to 4 are mirrored or turned by 180 degrees, 5 to 8 transposed as well."""
    across, down = {2: (1, 0), 3: (1, 1), 4: (0, 1), 6: (1, 0), 7: (1, 1), 8: (0, 1)}.get(orientation, (0, 0))
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if across:
        array = array[:, ::-1]
    if down:
        array = array[::-1]
    return np.ascontiguousarray(array)
