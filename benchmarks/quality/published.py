"""Figures that others published for the sets this project scores, to print beside those measured here.

Low light and exposure: the supplement of ShadowDiffusion (Guo et al., CVPR 2023), Tables B and C. Shadow: whole image,
as later papers report them. Each under its own protocol, which need not be the one of the rows beside.
"""

from __future__ import annotations

from typing import NamedTuple

from shadowdiffusion.training.layouts import LayoutName

OURS = "ShadowDiffusion (Guo et al.)"


class Published(NamedTuple):
    """One row: figures by the titles of the table's columns."""

    method: str
    source: str
    figures: dict[str, float]


def _low_light(method: str, psnr: float, ssim: float, lpips: float) -> Published:
    return Published(method, "published, Table B", {"PSNR": psnr, "SSIM": ssim, "LPIPS": lpips})


def _exposure(method: str, psnr: float, ssim: float) -> Published:
    return Published(method, "published, Table C", {"PSNR average": psnr, "SSIM average": ssim})


def _shadow(psnr: float, ssim: float) -> tuple[Published, ...]:
    return (Published(OURS, "published, secondary source", {"PSNR all": psnr, "SSIM all": ssim}),)


_EXPERTS = {
    "A": (22.742, 0.828),
    "B": (24.224, 0.848),
    "C": (22.662, 0.846),
    "D": (21.651, 0.834),
    "E": (20.366, 0.820),
}
_BY_EXPERT = {f"PSNR {expert}": psnr for expert, (psnr, _) in _EXPERTS.items()} | {
    f"SSIM {expert}": ssim for expert, (_, ssim) in _EXPERTS.items()
}

PUBLISHED: dict[LayoutName, tuple[Published, ...]] = {
    "istd": _shadow(32.33, 0.969),
    "istd-plus": _shadow(35.67, 0.975),
    "srd": _shadow(34.73, 0.970),
    "lol": (
        _low_light("LIME", 14.02, 0.56, 0.35),
        _low_light("RetinexNet", 16.77, 0.56, 0.35),
        _low_light("EnlightenGAN", 17.48, 0.65, 0.32),
        _low_light("Zero-DCE", 14.86, 0.54, 0.34),
        _low_light("LR3M", 18.91, 0.75, 0.28),
        _low_light("RUAS", 18.23, 0.72, 0.35),
        _low_light("KinD", 20.38, 0.80, 0.17),
        _low_light("DRBN", 20.08, 0.83, 0.16),
        _low_light("Zhao et al.", 21.71, 0.83, 0.20),
        _low_light("KinD++", 21.30, 0.82, 0.16),
        _low_light("Lv et al.", 20.24, 0.79, 0.14),
        _low_light("URetinex-Net", 21.33, 0.83, 0.12),
        _low_light("MIRNet", 24.14, 0.84, 0.13),
        _low_light(OURS, 27.36, 0.93, 0.10),
    ),
    "msec": (
        _exposure("HE", 16.580, 0.682),
        _exposure("CLAHE", 15.425, 0.602),
        _exposure("WVM", 15.548, 0.688),
        _exposure("LIME", 12.150, 0.618),
        _exposure("HDR CNN w/ RHT", 13.741, 0.460),
        _exposure("HDR CNN w/ PS", 17.032, 0.687),
        _exposure("DPED (iPhone)", 16.274, 0.629),
        _exposure("DPED (BlackBerry)", 17.890, 0.671),
        _exposure("DPED (Sony)", 17.881, 0.676),
        _exposure("DPE (HDR)", 16.206, 0.623),
        _exposure("DPE (U-FiveK)", 16.670, 0.655),
        _exposure("DPE (S-FiveK)", 17.510, 0.677),
        _exposure("HQEC", 14.487, 0.666),
        _exposure("RetinexNet", 11.633, 0.607),
        _exposure("DeepUPE", 14.247, 0.640),
        _exposure("Zero-DCE", 12.598, 0.549),
        _exposure("Afifi et al.", 19.483, 0.739),
        Published(OURS, "published, Table C", _BY_EXPERT | {"PSNR average": 22.329, "SSIM average": 0.835}),
    ),
}
