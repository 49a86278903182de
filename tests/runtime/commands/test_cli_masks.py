"""Masks and clean estimates on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from shadowdiffusion import runtime
from shadowdiffusion.runtime.bundle.opening import load_bundle
from tests.runtime.commands.command_line import Call, names, refused
from tests.runtime.tiny import load_pixels, make_sampling, picture, save, write_bundle
from tests.runtime.video.test_video import film, frames

SHADOW = (np.arange(40) > 20) * np.full((30, 1), 255, np.uint8)


def test_one_mask_for_a_whole_folder(call: Call, bundle: Path, restorer: runtime.Restorer, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for seed, name in enumerate(("a.png", "b.png")):
        save(folder / name, picture(30, 40, seed=seed))
    save(folder / "small.png", picture(15, 20))
    save(folder / "other.png", picture(30, 30))
    mask = save(folder / "shadow.png", SHADOW)  # among the photos, and none of them
    run = call("restore", folder, "--bundle", bundle, "-o", tmp_path / "out", "--mask", mask)
    assert run.code == 1
    note, error, summary = sorted(run.err.splitlines(), key=lambda line: ("note" not in line, "other.png" not in line))
    assert note == f"note: {folder}/small.png: mask {mask} is 40x30 pixels, the photo 20x15: the mask is resized"
    assert error.startswith(f"error: {folder}/other.png: mask {mask} is 40x30 pixels, the photo 30x30: ")
    assert summary == "error: 1 of 4 photos failed"
    assert names(tmp_path / "out") == ["a.png", "b.png", "small.png"]
    for name in ("a.png", "b.png"):
        expected = restorer(folder / name, mask).image
        assert np.array_equal(load_pixels(tmp_path / "out" / name), expected)


def test_masks_among_their_photos(call: Call, bundle: Path, tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture(30, 40))
    save(tmp_path / "a_mask.png", SHADOW)
    run = call("restore", tmp_path, "--bundle", bundle, "--mask", tmp_path)
    assert (run.code, run.err, run.out.count(" -> ")) == (0, "", 1)
    assert names(tmp_path) == ["a.png", "a.restored.png", "a_mask.png"]


def test_a_mask_that_is_probably_inverted_is_a_warning(call: Call, bundle: Path, tmp_path: Path) -> None:
    photo, mask = save(tmp_path / "a.png", picture(30, 40)), save(tmp_path / "m.png", 255 - SHADOW)
    run = call("restore", photo, "--bundle", bundle, "--mask", mask)
    expected = f"warning: mask {mask} marks what is brighter than its surroundings: it may be inverted"
    assert (run.code, run.err) == (0, f"{expected} (white marks shadow)\n")


def test_the_mask_of_a_video_keeps_to_the_same_rules(call: Call, bundle: Path, tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", frames=2)
    whole = np.zeros((96, 128), np.uint8)
    whole[:, 64:] = 255
    masks = {"whole": whole, "labels": whole // 255, "half": whole[::2, ::2], "other": 255 - whole}
    results = {}
    for name, mask in masks.items():
        out = tmp_path / f"{name}.mp4"
        words = ["--mask", save(tmp_path / f"{name}.png", mask), "-o", out, "--bundle", bundle, "--json"]
        run = call("restore", clip, *words)
        assert run.code == 0
        told = [f"mask {tmp_path}/half.png is 64x48 pixels, the photo 128x96: the mask is resized"]
        assert json.loads(run.out)["notes"] == (told if name == "half" else [])
        results[name] = np.stack(frames(out)).astype(int)
    assert np.array_equal(results["labels"], results["whole"])
    half, other = (np.abs(results[name] - results["whole"]).mean() for name in ("half", "other"))
    assert half < other / 3
    colour = save(tmp_path / "colour.png", picture(96, 128))
    run = call("restore", clip, "--mask", colour, "-o", tmp_path / "c.mp4", "--bundle", bundle)
    refused(run, f"mask {colour} is in colour", code=1)
    run = call("restore", clip, "--clean", colour, "-o", tmp_path / "c.mp4", "--bundle", bundle)
    refused(run, "a clean estimate goes with a photo only", code=1)
    assert not (tmp_path / "c.mp4").exists()


def test_a_clean_estimate_takes_the_place_of_the_prior(call: Call, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "alone", make_sampling(data_consistency=False), prior=False)
    photo, mask = save(tmp_path / "a.png", picture(30, 40)), save(tmp_path / "m.png", SHADOW)
    clean = save(tmp_path / "x.png", picture(30, 40) // 2 + 100)
    words = ["restore", photo, "--mask", mask, "--bundle", bundle, "-o", tmp_path / "out.png", "--json"]
    run = call(*words, "--clean", clean)
    record = json.loads(run.out)
    assert (run.code, record["status"], record["clean"]) == (0, "restored", str(clean))
    expected = runtime.load(bundle, "portable", "cpu", 1)(photo, mask, clean=clean).image
    assert np.array_equal(load_pixels(tmp_path / "out.png"), expected)
    assert json.loads(call(*words, "--clean", clean).out)["status"] == "skipped"
    refused_without = call(*words)
    assert (refused_without.code, json.loads(refused_without.out)["status"]) == (1, "failed")
    assert "made from another clean estimate" in refused_without.err
    save(clean, picture(30, 40) // 3 + 100)
    assert "made from another clean estimate" in call(*words, "--clean", clean).err
    assert load_bundle(bundle).has_prior is False
    refused(call(*words[:-3], "-o", clean, "--clean", clean, "--overwrite"), "it is the clean estimate", code=1)


def test_clean_estimates_of_a_folder_have_the_names_of_the_photos(call: Call, bundle: Path, tmp_path: Path) -> None:
    for folder in ("in", "clean"):
        (tmp_path / folder / "sub").mkdir(parents=True)
    save(tmp_path / "in/a.png", picture(30, 40))
    save(tmp_path / "in/sub/b.png", picture(30, 40, seed=1))
    save(tmp_path / "clean/a.tif", picture(30, 40))
    save(tmp_path / "clean/sub/b.jpg", picture(30, 40, seed=1))
    run = call("restore", tmp_path / "in", "-o", tmp_path / "o", "--clean", tmp_path / "clean", "--bundle", bundle)
    assert (run.code, run.err) == (0, "")
    (tmp_path / "clean/a.tif").unlink()
    run = call(
        "restore", tmp_path / "in/a.png", "-o", tmp_path / "p", "--clean", tmp_path / "clean", "--bundle", bundle
    )
    refused(run, "has no clean estimate for", code=1)
