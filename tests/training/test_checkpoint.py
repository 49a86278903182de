"""Checkpoints: what goes in comes out, and every wrong file is refused in one clear line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from shadowdiffusion.training.checkpoint import Model, load_checkpoints, save_checkpoint
from shadowdiffusion.training.degradation import AUTHORS, DegradationConfig, DegradationPrior
from shadowdiffusion.training.denoiser import Denoiser, DenoiserConfig
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.schedule import DiffusionConfig

DENOISER = DenoiserConfig(base=8, multipliers=(1, 2), blocks=1, groups=4, attention=(1,), patch=2)
PRIOR = DegradationConfig(width=8, encoder=(1,), middle=1, decoder=(1,))


def equal(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    a, b = one.state_dict(), two.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def denoiser() -> Denoiser:
    torch.manual_seed(1)
    return Denoiser(DENOISER)


@pytest.fixture
def prior() -> DegradationPrior:
    torch.manual_seed(2)
    return DegradationPrior(PRIOR)


@pytest.fixture
def saved(tmp_path: Path, denoiser: Denoiser) -> Path:
    path = tmp_path / "denoiser.safetensors"
    save_checkpoint(path, Model(denoiser))
    return path


def rewritten(path: Path, **metadata: Any) -> Path:
    """The same tensors with other metadata, without digest as older files; `config` may be changes of the JSON."""
    with safe_open(path, framework="pt") as file:
        old = {key: value for key, value in file.metadata().items() if key != "sha256"}
    if isinstance(metadata.get("config"), dict):
        metadata["config"] = json.dumps(json.loads(old["config"]) | metadata["config"])
    save_file(load_file(path), path, {key: value for key, value in (old | metadata).items() if value is not None})
    return path


def test_a_name_of_any_length_is_written(tmp_path: Path, denoiser: Denoiser) -> None:
    path = tmp_path / ("n" * 243 + ".safetensors")
    save_checkpoint(path, Model(denoiser))
    loaded = load_checkpoints(path).denoiser
    assert loaded is not None
    assert equal(loaded, denoiser)
    assert list(tmp_path.iterdir()) == [path]


def refused(*paths: Path) -> str:
    with pytest.raises(TrainingError) as caught:
        load_checkpoints(paths)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_round_trip(tmp_path: Path, denoiser: Denoiser, prior: DegradationPrior) -> None:
    path = tmp_path / "both.safetensors"
    diffusion = DiffusionConfig(500, 2e-4, 0.03)
    recipe = {"steps": 3, "data": ["synthetic"], "note": "ρ"}
    save_checkpoint(path, Model(denoiser, prior, diffusion, "low-light", recipe, AUTHORS))
    model = load_checkpoints([path])
    assert model.denoiser is not None
    assert model.prior is not None
    assert model.denoiser.config == DENOISER
    assert model.prior.config == PRIOR
    assert equal(model.denoiser, denoiser)
    assert equal(model.prior, prior)
    assert (model.diffusion, model.task, model.recipe) == (diffusion, "low-light", recipe)
    assert model.illumination == AUTHORS
    assert not model.denoiser.training
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_memory_format_does_not_matter(tmp_path: Path, denoiser: Denoiser) -> None:
    path = tmp_path / "last.safetensors"
    denoiser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    save_checkpoint(path, Model(denoiser))
    save_checkpoint(path, Model(denoiser))  # replaces the first
    loaded = load_checkpoints(path).denoiser
    assert loaded is not None
    assert equal(loaded, denoiser)


def test_file_layout(saved: Path) -> None:
    with safe_open(saved, framework="pt") as file:
        metadata, names = file.metadata(), list(file.keys())
    assert metadata["format"] == "shadowdiffusion"
    assert metadata["version"] == "1"
    config = json.loads(metadata["config"])
    assert config["denoiser"]["multipliers"] == [1, 2]
    assert config["prior"] is None
    assert "illumination" not in config  # files of the usual form are as they have ever been
    assert config["diffusion"] == {"timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02}
    assert all(name.startswith("denoiser.") for name in names)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_union(tmp_path: Path, denoiser: Denoiser, prior: DegradationPrior, order: tuple[int, int]) -> None:
    diffusion = DiffusionConfig(400)
    files = [tmp_path / "d.safetensors", tmp_path / "p.safetensors"]
    save_checkpoint(files[0], Model(denoiser, None, diffusion, recipe={"lr": 1}, illumination=AUTHORS))
    save_checkpoint(files[1], Model(None, prior, recipe={"lr": 2}))
    model = load_checkpoints([files[i] for i in order])
    assert model.denoiser is not None
    assert model.prior is not None
    assert equal(model.denoiser, denoiser)
    assert equal(model.prior, prior)
    assert (model.diffusion, model.illumination) == (diffusion, AUTHORS)
    assert model.recipe == {"d": {"lr": 1}, "p": {"lr": 2}}


def test_union_refuses_duplicates_and_mixed_tasks(tmp_path: Path, saved: Path, prior: DegradationPrior) -> None:
    assert "both" in refused(saved, saved)
    other = tmp_path / "exposure.safetensors"
    save_checkpoint(other, Model(None, prior, task="exposure"))
    message = refused(saved, other)
    assert "shadow" in message
    assert "exposure" in message


def test_loading_leaves_the_random_stream_alone(saved: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_checkpoints(saved)
    assert torch.equal(torch.rand(3), expected)


def test_failed_save_keeps_the_old_file(tmp_path: Path, saved: Path, denoiser: Denoiser) -> None:
    before = saved.read_bytes()
    with pytest.raises(TrainingError, match="JSON"):
        save_checkpoint(saved, Model(denoiser, recipe={"bad": object()}))
    with pytest.raises(TrainingError, match="JSON"):
        save_checkpoint(saved, Model(denoiser, recipe={"bad": float("nan")}))
    assert saved.read_bytes() == before
    with pytest.raises(TrainingError, match="cannot write"):
        save_checkpoint(tmp_path / "absent" / "x.safetensors", Model(denoiser))
    with pytest.raises(TrainingError, match="neither"):
        save_checkpoint(saved, Model())
    assert [entry.name for entry in tmp_path.iterdir()] == [saved.name]


@pytest.mark.parametrize("keep", [0, 4, 100, 2000, -1])
def test_truncated(saved: Path, keep: int) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[:keep])
    assert "truncated" in refused(saved)


def test_a_flipped_bit_is_noticed(saved: Path) -> None:
    """In the last tensor, in the first, and in the recipe, where safetensors itself sees nothing."""
    whole = saved.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    for place in (len(whole) - 1, header + 8 + 2, whole.index(b"recipe") + 10):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        saved.write_bytes(damaged)
        assert "is damaged" in refused(saved)
    saved.write_bytes(whole)
    load_checkpoints(saved)
    load_checkpoints(rewritten(saved))


def test_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "nothing.safetensors")
    assert "no checkpoint" in refused()


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "other"}, "not a shadowdiffusion checkpoint"),
        ({"format": None}, "not a shadowdiffusion checkpoint"),
        ({"version": "2"}, "version 2"),
        ({"config": "{"}, "not JSON"),
        ({"config": "[]"}, "not an object"),
        ({"config": {"task": "dehaze"}}, "dehaze"),
        ({"config": {"recipe": None}}, "recipe"),
        ({"config": {"diffusion": None}}, "DiffusionConfig"),
        ({"config": {"diffusion": {"timesteps": 0}}}, "at least 1"),
        ({"config": {"denoiser": {"base": 8, "colour": 1}}}, "'colour'"),
        ({"config": {"denoiser": {"base": "8"}}}, "base"),
        ({"config": {"denoiser": {"base": True}}}, "base"),
        ({"config": {"denoiser": {"multipliers": [1, 2.5]}}}, "multipliers"),
        ({"config": {"denoiser": {"groups": 7}}}, "groups 7"),
        ({"config": {"denoiser": None}}, "no network"),
        ({"config": {"prior": {}}}, "lacks the tensor prior."),
        ({"config": {"prior": {"width": -8}}}, "cannot be built"),
    ],
    ids=str,
)
def test_wrong_metadata(saved: Path, metadata: dict[str, Any], message: str) -> None:
    assert message in refused(rewritten(saved, **metadata))


def test_other_architecture(saved: Path) -> None:
    def as_config(**changes: Any) -> dict[str, Any]:
        fields = {"base": 8, "multipliers": [1, 2], "blocks": 1, "groups": 4, "attention": [1], "patch": 2}
        return {"denoiser": fields | changes}

    assert "denoiser.embedding.hidden.weight of shape (32, 8), not (64, 16)" in refused(
        rewritten(saved, config=as_config(base=16))
    )
    assert "lacks the tensor denoiser.encoder.0.blocks.1" in refused(rewritten(saved, config=as_config(blocks=2)))
    assert "no network of it wants: denoiser." in refused(rewritten(saved, config=as_config(attention=[])))


def test_newer_fields_keep_their_defaults(saved: Path) -> None:
    config = {"denoiser": {"base": 8, "multipliers": [1, 2], "blocks": 1, "groups": 4, "attention": [1], "patch": 2}}
    config["diffusion"] = {"timesteps": 300}
    assert load_checkpoints(rewritten(saved, config=config)).diffusion == DiffusionConfig(300, 1e-4, 0.02)


def test_unknown_task_is_refused() -> None:
    with pytest.raises(TrainingError, match="dehaze"):
        Model(task="dehaze")
