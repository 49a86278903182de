"""Tiny data sets in the folders of the published ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyvips

SHAPE = (40, 60)


def write(path: Path, pixels: np.ndarray) -> None:
    """An image file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pyvips.Image.new_from_array(pixels).write_to_file(str(path))


def clean_photo(seed: int) -> np.ndarray:
    """uint8[40, 60, 3]."""
    return np.random.default_rng(seed).integers(90, 200, (*SHAPE, 3), dtype=np.uint8)


def shadow_pair(folder: Path, names: tuple[str, str, str], stem: str, suffix: str, seed: int, kind: str) -> None:
    """A photo whose left half is in shadow, its mask and its clean photo."""
    clean = clean_photo(seed)
    degraded = clean.copy()
    degraded[:, :30] //= 2
    write(folder / names[0] / f"{stem}.{kind}", degraded)
    write(folder / names[1] / f"{stem}.png", np.where(np.arange(60) < 30, 255, 0).astype(np.uint8)[None].repeat(40, 0))
    write(folder / names[2] / f"{stem}{suffix}.{kind}", clean)


def istd(root: Path) -> None:
    """480 x 640 PNG in the real one."""
    for split, count in (("train", 3), ("test", 2)):
        for i in range(count):
            names = (f"{split}_A", f"{split}_B", f"{split}_C")
            shadow_pair(root / split, names, f"{90 + i}-{i + 1}", "", i, "png")


def istd_plus(root: Path) -> None:
    """The original truth is still there, the adjusted one beside it."""
    istd(root)
    for split, by in (("train", "ours"), ("test", "official")):
        for file in (root / split / f"{split}_C").iterdir():
            pixels = pyvips.Image.new_from_file(str(file)).numpy()
            write(root / f"{split}_C_fixed_{by}" / file.name, pixels // 2)


def srd(root: Path) -> None:
    """As published, with detected masks put beside."""
    names = ("shadow", "mask", "shadow_free")
    for i in range(3):
        shadow_pair(root / "Train", names, f"IMG_{5000 + i}", "_no_shadow", i, "jpg")
    for i in range(2):
        shadow_pair(root / "test_data", names, f"_MG_{2700 + i}", "_free", i, "jpg")


def lol(root: Path) -> None:
    """`our485` and `eval15`."""
    for part, count in (("our485", 3), ("eval15", 2)):
        for i in range(count):
            write(root / part / "high" / f"{i + 1}.png", clean_photo(i))
            write(root / part / "low" / f"{i + 1}.png", clean_photo(i) // 6)


def msec(root: Path) -> None:
    """Five exposures of every photo; one truth, but five in `testing`."""
    experts = [f"expert_{expert}_testing_set" for expert in "abcde"]
    for part, truths in (("training", ["GT_IMAGES"]), ("validation", ["GT_IMAGES"]), ("testing", experts)):
        for i, stem in enumerate(("a0001-jmac_DSC1459", "a0009-kme_372")):
            for truth in truths:
                write(root / part / truth / f"{stem}.jpg", clean_photo(i))
            for exposure, factor in (("0", 1.0), ("N1", 0.5), ("N1.5", 0.35), ("P1", 1.5), ("P1.5", 2.0)):
                shot = (clean_photo(i) * factor).clip(0, 255).astype(np.uint8)
                write(root / part / "INPUT_IMAGES" / f"{stem}_{exposure}.JPG", shot)


def sice(root: Path) -> None:
    """Numbered scenes of several exposures, and a folder with their labels."""
    for part, scenes in (("Dataset_Part1", (1, 2, 10)), ("Dataset_Part2", (1, 2))):
        for scene in scenes:
            write(root / part / "Label" / f"{scene}.JPG", clean_photo(scene))
            for shot in (1, 2, 3):
                write(root / part / str(scene) / f"{shot}.JPG", (clean_photo(scene) * shot // 3).astype(np.uint8))


def stacks(root: Path) -> None:
    """Shots called `low`, `mid` and `over`."""
    for scene in ("002", "001"):
        for shot, value in (("low", 40), ("mid", 118), ("over", 230)):
            write(root / scene / f"{shot}.png", np.full((20, 30, 3), value, np.uint8))


def pairs(root: Path) -> None:
    """`input`, `mask` and `gt`."""
    for i in range(2):
        shadow_pair(root, ("input", "mask", "gt"), f"photo_{i}", "", i, "png")
