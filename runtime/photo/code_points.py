"""Colours by the numbers of ITU-T H.273, as PNG (cICP), HEIF and AVIF (nclx) and ICC 4.4 (cicp) name them."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo.profiles import BT709, D65, Curve, Primaries, build_profile, srgb_curve

_C = (0.310, 0.316)
_PRIMARIES = {
    1: BT709,
    4: Primaries((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C),
    5: Primaries((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), D65),
    6: Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    7: Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    8: Primaries((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),
    9: Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    11: Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
    22: Primaries((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), D65),
}


def _bt709(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(values < 0.081, values / 4.5, ((values + 0.099) / 1.099) ** (1 / 0.45))


def _smpte_240m(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(values < 0.0912, values / 4, ((values + 0.1115) / 1.1115) ** (1 / 0.45))


_CURVES: dict[int, Curve] = {
    1: _bt709, 4: 2.2, 5: 2.8, 6: _bt709, 7: _smpte_240m, 8: 1.0, 11: _bt709, 13: srgb_curve, 14: _bt709, 15: _bt709,
}  # fmt: skip
_HDR = {16: "PQ", 18: "HLG"}
_UNSPECIFIED = 2


class CodePoints(NamedTuple):
    """What a file says its colours are."""

    primaries: int
    transfer: int
    full_range: bool = True

    def check(self, name: str) -> None:
        """Raise PhotoError for HDR, whose values mean other light than those of photos, and for values of video."""
        if self.transfer in _HDR:
            raise PhotoError(f"{name} is HDR ({_HDR[self.transfer]}): convert it to SDR first")
        if not self.full_range:
            raise PhotoError(
                f"{name} has pixels of the narrow range of video (16 to 235): convert it to full range first"
            )

    @property
    def is_unspecified(self) -> bool:
        """Whether nothing is said."""
        return self.primaries == self.transfer == _UNSPECIFIED

    @property
    def is_srgb(self) -> bool:
        """Whether the colours are sRGB, or nothing says otherwise."""
        return self.primaries in (1, _UNSPECIFIED) and self.transfer in (13, _UNSPECIFIED)

    def profile(self, bands: int) -> bytes | None:
        """The ICC profile of these colours; None if they are unknown."""
        primaries = BT709 if self.primaries == _UNSPECIFIED else _PRIMARIES.get(self.primaries)
        curve = srgb_curve if self.transfer == _UNSPECIFIED else _CURVES.get(self.transfer)
        if primaries is None or curve is None:
            return None
        return build_profile(f"H.273 primaries {self.primaries}, transfer {self.transfer}", primaries, curve, bands)


def of_profile(profile: bytes) -> CodePoints | None:
    """The numbers that an ICC profile holds beside its curves, which for HDR are a makeshift."""
    count = int.from_bytes(profile[128:132], "big")
    for start in range(132, min(132 + 12 * count, len(profile)), 12):
        if profile[start : start + 4] == b"cicp":
            place = int.from_bytes(profile[start + 4 : start + 8], "big")
            tag = profile[place : place + 12]
            if len(tag) == 12 and tag[:4] == b"cicp":
                return CodePoints(tag[8], tag[9])
    return None
