"""Photographed pairs in the folders of their authors: which file is degraded, which is clean, where the mask is.

Every layout answers three splits, "train", "validation" and "test"; a set that has no validation pairs gives those of
the test. What each set looks like, and where its authors publish it, stands in docs/data-sets.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from shadowdiffusion.training.errors import TrainingError

WELL_EXPOSED = "mid"  # name of the reference shot in an exposure stack
EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}
EXPERTS = "abcde"

LayoutName = Literal["pairs", "stacks", "istd", "istd-plus", "srd", "lol", "msec", "sice"]
LAYOUTS: tuple[LayoutName, ...] = get_args(LayoutName)
TASKS: dict[LayoutName, Literal["shadow", "low-light", "exposure"]] = {
    "pairs": "shadow",
    "stacks": "exposure",
    "istd": "shadow",
    "istd-plus": "shadow",
    "srd": "shadow",
    "lol": "low-light",
    "msec": "exposure",
    "sice": "exposure",
}
"""What a set is published for."""


@dataclass(frozen=True)
class Triplet:
    """Files of one photographed pair.

    name: of the degraded photo, unique within the set; results of other methods are expected under it.
    subset: part of the set that is reported by itself, such as the expert who retouched the clean photo.
    """

    name: str
    degraded: Path
    mask: Path | None
    clean: Path
    subset: str = ""


class _OtherTree(Exception):
    """The folder is not in this layout; the message says what was looked for."""


def triplets(root: Path, split: str, layout: LayoutName = "pairs") -> list[Triplet]:
    """Pairs of one split of a set, in the order of their names.

    split: "train", "validation" or "test"; in exposure stacks also the name of one shot.

    Raises:
        TrainingError: `root` is not in that layout, has no photos, or some lack their partner.
    """
    if not root.is_dir():
        raise TrainingError(f"no folder {root}: give the directory that holds the {layout} data")
    try:
        return _FINDERS[layout](root, split)
    except _OtherTree as missing:
        like = [other for other in LAYOUTS if other != layout and _fits(other, root, split)]
        hint = f"; it looks like layout {' or '.join(like)}" if like else ""
        raise TrainingError(f"{root} is not in layout {layout}: {missing}{hint}") from None


def photos_in(folder: Path) -> list[Path]:
    """Image files directly in `folder`, sorted. Raises TrainingError when there is none."""
    if not folder.is_dir():
        raise TrainingError(f"no folder {folder}: give the directory that holds the photos")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in EXTENSIONS)
    if not files:
        raise TrainingError(f"no photo in {folder}: expected files ending in {', '.join(sorted(EXTENSIONS))}")
    return files


def _fits(layout: LayoutName, root: Path, split: str) -> bool:
    try:
        return bool(_FINDERS[layout](root, split))
    except (_OtherTree, TrainingError, OSError):
        return False


def _folder(parents: Iterable[Path], *names: str) -> Path | None:
    """The first of `names` that is a folder below any of `parents`."""
    return next((p / name for name in names for p in parents if (p / name).is_dir()), None)


def _needed(parents: Iterable[Path], *names: str) -> Path:
    parents = list(dict.fromkeys(parents))
    found = _folder(parents, *names)
    if found is None:
        where = " or ".join(str(parent) for parent in parents)
        raise _OtherTree(f"there is no folder {' or '.join(names)} in {where}")
    return found


def _matched(degraded: Path, mask: Path | None, clean: Path, key: Callable[[Path], str]) -> list[Triplet]:
    """Pairs of three folders whose files have the same key."""
    truths = {key(p): p for p in photos_in(clean)}
    masks = {key(p): p for p in photos_in(mask)} if mask is not None else {}
    inputs = photos_in(degraded)
    lone = [p.name for p in inputs if key(p) not in truths or (masks and key(p) not in masks)]
    if lone:
        others = str(clean) if mask is None else f"{clean} or {mask}"
        raise TrainingError(
            f"{len(lone)} of {len(inputs)} photos in {degraded} lack a partner of the same name in {others}, "
            f"{lone[0]} for one"
        )
    return [Triplet(p.stem, p, masks.get(key(p)), truths[key(p)]) for p in inputs]


def _stem(path: Path) -> str:
    """The name that a photo and its partners share. SRD's clean photos end in _no_shadow (train) or _free (test)."""
    stem = path.stem
    for suffix in ("_no_shadow", "_free", "_gt"):
        stem = stem.removesuffix(suffix)
    return stem


def _held_out(split: str) -> str:
    """The split's folder where there are only two."""
    return "test" if split == "validation" else split


def _pairs(root: Path, split: str) -> list[Triplet]:
    """`input`, `gt` and perhaps `mask`, in the split's folder or directly in `root`."""
    parents = [root / split, root / _held_out(split), root]
    degraded = _needed(parents, "input")
    return _matched(degraded, _folder([degraded.parent], "mask"), _needed([degraded.parent], "gt"), _stem)


def _stacks(root: Path, split: str) -> list[Triplet]:
    """`SCENE/low`, `SCENE/mid` and so on: every shot but the well exposed one is degraded, or the shot `split`."""
    pattern = "*" if split in ("train", "validation", "test") else split
    shots = sorted(p for p in root.glob(f"*/{pattern}.*") if p.suffix.lower() in EXTENSIONS)
    if not any(p.parent.glob(f"{WELL_EXPOSED}.*") for p in shots):
        raise _OtherTree(f"there are no folders with shots called {pattern} and {WELL_EXPOSED}")
    pairs = []
    for shot in sorted((p for p in shots if p.stem != WELL_EXPOSED), key=lambda p: (p.stem, p.parent.name)):
        truth = shot.with_stem(WELL_EXPOSED)
        if not truth.is_file():
            raise TrainingError(f"{shot} lacks its partner {truth}")
        pairs.append(Triplet(f"{shot.parent.name}_{shot.stem}", shot, None, truth, shot.stem))
    return pairs


def _istd(root: Path, split: str, *truths: str) -> list[Triplet]:
    """`train_A` (shadow), `train_B` (mask), `train_C` (clean), in `train` or in `root`; the same for `test`."""
    split = _held_out(split)
    parents = [root / split, root]
    degraded, mask = _needed(parents, f"{split}_A"), _folder(parents, f"{split}_B")
    return _matched(degraded, mask, _needed(parents, *truths, f"{split}_C"), _stem)


def _istd_plus(root: Path, split: str) -> list[Triplet]:
    """ISTD with its adjusted truth, in folders of their own or in the place of the original."""
    names = [f"{_held_out(split)}_C_fixed_{by}" for by in ("official", "ours")]
    return _istd(root, split, *names)


def _srd(root: Path, split: str) -> list[Triplet]:
    """`shadow` and `shadow_free`, or the same renamed like ISTD's; detected masks in `mask` or `train_B`."""
    split = _held_out(split)
    if _folder([root / split, root], f"{split}_A"):
        return _istd(root, split)
    parents = [root / split, root / split.capitalize(), root / f"{split}_data"]
    degraded = _needed(parents, "shadow", f"{split}_A")
    mask = _folder([degraded.parent], "mask", f"{split}_B")
    return _matched(degraded, mask, _needed([degraded.parent], "shadow_free"), _stem)


def _lol(root: Path, split: str) -> list[Triplet]:
    """`our485` and `eval15`, each with `low` and `high`."""
    part = root / {"train": "our485", "test": "eval15"}.get(_held_out(split), split)
    return _matched(_needed([part], "low"), None, _needed([part], "high"), _stem)


def _msec(root: Path, split: str) -> list[Triplet]:
    """`training/INPUT_IMAGES/a0001-x_N1.5.JPG` and `training/GT_IMAGES/a0001-x.jpg`; five experts in `testing`."""
    parents = [root / {"train": "training", "test": "testing"}.get(split, split), root / split]
    degraded = _needed(parents, "INPUT_IMAGES")
    part = degraded.parent

    def photo(path: Path) -> str:
        return path.stem.rsplit("_", 1)[0] if path.parent == degraded else path.stem

    found = [
        (expert, folder)
        for expert in EXPERTS
        if (folder := _folder([part, part / "GT_IMAGES"], f"expert_{expert}_testing_set"))
    ]
    if not found:
        return _matched(degraded, None, _needed([part], "GT_IMAGES"), photo)
    by_expert = [
        [Triplet(t.name, t.degraded, None, t.clean, expert.upper()) for t in _matched(degraded, None, folder, photo)]
        for expert, folder in found
    ]
    return [pair for experts in zip(*by_expert, strict=True) for pair in experts]


def _sice(root: Path, split: str) -> list[Triplet]:
    """`Dataset_Part1/NUMBER/*.JPG` with the clean `Dataset_Part1/Label/NUMBER.JPG`; part 2 is the test."""
    names = {"train": ("Dataset_Part1", "Part1"), "test": ("Dataset_Part2", "Part2")}.get(_held_out(split), (split,))
    part = _needed([root], *names)
    inner = _folder([part], part.name) or part  # one archive holds a folder of its own name
    label = _needed([part, inner], "Label", "label")
    truths = {p.stem: p for p in photos_in(label)}
    scenes = sorted((p for p in inner.iterdir() if p.is_dir() and p.name.isdecimal()), key=lambda p: int(p.name))
    if not scenes:
        raise _OtherTree(f"there are no numbered folders in {inner}")
    lone = [scene.name for scene in scenes if scene.name not in truths]
    if lone:
        raise TrainingError(
            f"{len(lone)} of {len(scenes)} scenes in {inner} lack a photo in {label}, {lone[0]} for one"
        )
    return [
        Triplet(f"{scene.name}_{shot.stem}", shot, None, truths[scene.name])
        for scene in scenes
        for shot in photos_in(scene)
    ]


_FINDERS: dict[LayoutName, Callable[[Path, str], list[Triplet]]] = {
    "pairs": _pairs,
    "stacks": _stacks,
    "istd": _istd,
    "istd-plus": _istd_plus,
    "srd": _srd,
    "lol": _lol,
    "msec": _msec,
    "sice": _sice,
}
