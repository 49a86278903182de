"""The training loop: it learns, it resumes exactly, it ships the averaged weights, it fails clearly."""

import json
import math
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from msgspec.structs import replace

from shadowdiffusion.training.checkpoint import load_checkpoints
from shadowdiffusion.training.config import DataConfig, FitConfig, load_config, shipped_configs
from shadowdiffusion.training.datasets import CropConfig, Sample
from shadowdiffusion.training.ema import Ema
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.fit import fit, learning_rate
from shadowdiffusion.training.objective import Objective
from shadowdiffusion.training.run_state import read_tensors
from shadowdiffusion.training.schedule import DiffusionConfig

PHOTOS = Path(__file__).parents[1] / "data" / "photos"
TINY = FitConfig(
    network="prior",
    size="small",
    steps=6,
    batch=2,
    warmup=1,
    workers=0,
    validate_every=3,
    validation_samples=2,
    checkpoint_every=3,
    data=DataConfig(crop=CropConfig(size=32, smallest_side=64, largest_side=128)),
)


@pytest.fixture(autouse=True)
def fresh_accelerate() -> None:
    """Accelerate fixes the precision once per process; every test here stands for a process of its own."""
    AcceleratorState._reset_state(reset_partial_state=True)


def _log(folder: Path) -> list[dict[str, float]]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "images_per_second"} for record in records]


@pytest.mark.parametrize("network", ["prior", "denoiser"])
def test_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, network: str) -> None:
    config = replace(TINY, network=network)
    fit(config, PHOTOS, tmp_path / "whole", quiet=True)
    fit(config, PHOTOS, tmp_path / "rest", tmp_path / "whole/checkpoints/step_0000003", quiet=True)
    assert _log(tmp_path / "rest") == _log(tmp_path / "whole")[1:]
    whole, rest = (load_checkpoints(tmp_path / name / "last.safetensors") for name in ("whole", "rest"))
    a, b = (getattr(model, network).state_dict() for model in (whole, rest))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert whole.recipe[network]["trained_steps"] == 6


def test_resume_takes_the_newest_of_a_folder(tmp_path: Path) -> None:
    fit(TINY, PHOTOS, tmp_path, quiet=True)
    longer = replace(TINY, steps=9)
    fit(longer, PHOTOS, tmp_path, tmp_path / "checkpoints", quiet=True)
    assert [record["step"] for record in _log(tmp_path)] == [3, 6, 9]
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["step_0000006", "step_0000009"]


def test_it_learns(tmp_path: Path) -> None:
    """Sixty steps on 32-pixel crops are enough to see the matte and the validation score improve."""
    config = replace(TINY, steps=60, batch=4, validate_every=30, checkpoint_every=60, warmup=5, ema=0.9)
    best = fit(config, PHOTOS, tmp_path, quiet=True)
    assert best.is_file()
    first, last = _log(tmp_path)
    assert last["matte"] < 0.9 * first["matte"]
    assert last["val_masked"] > first["val_masked"]


@pytest.mark.parametrize("task", ["exposure", "low-light"])
def test_exposure_learns_without_a_true_matte(tmp_path: Path, task: str) -> None:
    config = replace(TINY, task=task, steps=40, batch=4, validate_every=20, warmup=5, ema=0.9, log_weight=(-5.0, 3.0))
    fit(config, PHOTOS, tmp_path, quiet=True)
    first, last = _log(tmp_path)
    assert "matte" not in last
    assert last["loss"] < 0.9 * first["loss"]
    assert last["val_score"] == last["val_masked"] > first["val_masked"]
    model = load_checkpoints(tmp_path / "last.safetensors")
    assert model.task == task
    assert model.prior is not None
    assert (model.prior.config.min_log_weight, model.prior.config.max_log_weight) == (-5.0, 3.0)


def test_fine_tuning_begins_with_the_weights_of_another_task(tmp_path: Path) -> None:
    source = fit(TINY, PHOTOS, tmp_path / "shadow", quiet=True)
    still = replace(TINY, task="exposure", learning_rate=1e-12, final_learning_rate=1e-12)
    fit(still, PHOTOS, tmp_path / "tuned", initial=source, quiet=True)
    a, b = (load_checkpoints(path) for path in (source, tmp_path / "tuned/last.safetensors"))
    assert a.prior is not None
    assert b.prior is not None
    for key, value in a.prior.state_dict().items():
        assert torch.allclose(value, b.prior.state_dict()[key], atol=1e-6)
    assert b.recipe["prior"]["initial"] == "best.safetensors"
    # the origin is not forgotten when such a run is resumed
    fit(replace(still, steps=9), PHOTOS, tmp_path / "tuned", tmp_path / "tuned/checkpoints", quiet=True)
    assert load_checkpoints(tmp_path / "tuned/last.safetensors").recipe["prior"]["initial"] == "best.safetensors"


def test_weights_to_begin_with_must_fit(tmp_path: Path) -> None:
    source = fit(TINY, PHOTOS, tmp_path, quiet=True)
    with pytest.raises(TrainingError, match="holds no Denoiser"):
        fit(replace(TINY, network="denoiser"), PHOTOS, tmp_path / "a", initial=source, quiet=True)
    with pytest.raises(TrainingError, match="another size"):
        fit(replace(TINY, size="paper"), PHOTOS, tmp_path / "b", initial=source, quiet=True)
    with pytest.raises(TrainingError, match="does not exist"):
        fit(TINY, PHOTOS, tmp_path / "c", initial=tmp_path / "absent", quiet=True)
    assert not any((tmp_path / name).exists() for name in "abc")


def test_shipped_weights_are_the_averaged_ones(tmp_path: Path) -> None:
    fit(TINY, PHOTOS, tmp_path, quiet=True)
    state = read_tensors(tmp_path / "checkpoints" / "step_0000006")
    shipped = load_checkpoints(tmp_path / "last.safetensors").prior
    assert shipped is not None
    for key, value in shipped.state_dict().items():
        assert torch.equal(value, state[f"average.{key}"])
    assert any(not torch.equal(state[f"network.{key}"], state[f"average.{key}"]) for key in shipped.state_dict())


def test_state_is_kept_in_pieces_and_none_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shadowdiffusion.training.run_state.PIECE", 2**20)
    fit(TINY, PHOTOS, tmp_path, quiet=True)
    folder = tmp_path / "checkpoints/step_0000003"
    pieces = sorted(folder.glob("tensors.*"))
    assert len(pieces) > 10  # of some parameters even a single tensor fills more than one
    assert all(piece.stat().st_size <= 2**20 for piece in pieces)
    monkeypatch.undo()  # who resumes may cut otherwise
    fit(TINY, PHOTOS, tmp_path / "rest", folder, quiet=True)
    ends = [read_tensors(base / "checkpoints/step_0000006") for base in (tmp_path, tmp_path / "rest")]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
    pieces[4].unlink()
    with pytest.raises(TrainingError, match="cannot resume from"):
        fit(TINY, PHOTOS, tmp_path / "lost", folder, quiet=True)


def test_resuming_a_finished_run_says_so(tmp_path: Path) -> None:
    fit(TINY, PHOTOS, tmp_path, quiet=True)
    with pytest.raises(TrainingError, match="at step 6 of 6"):
        fit(TINY, PHOTOS, tmp_path / "more", tmp_path / "checkpoints", quiet=True)
    assert not (tmp_path / "more").exists()


def test_a_new_folder_gets_its_best_checkpoint_even_without_a_record(tmp_path: Path) -> None:
    fit(TINY, PHOTOS, tmp_path / "old", quiet=True)
    state = tmp_path / "old/checkpoints/step_0000003/state.json"
    state.write_text(json.dumps({"step": 3, "best": 1000.0}))
    best = fit(TINY, PHOTOS, tmp_path / "new", state.parent, quiet=True)
    assert best.is_file()
    newest = json.loads((tmp_path / "new/checkpoints/step_0000006/state.json").read_text())
    assert newest["best"] == 1000.0


@pytest.mark.parametrize("network", ["prior", "denoiser"])
def test_bfloat16_trains(tmp_path: Path, network: str) -> None:
    """Autocast on the CPU; weights and averages stay in single precision."""
    fit(replace(TINY, network=network, precision="bf16", steps=3), PHOTOS, tmp_path, quiet=True)
    (record,) = _log(tmp_path)
    assert all(math.isfinite(value) for value in record.values())
    trained = getattr(load_checkpoints(tmp_path / "last.safetensors"), network)
    assert {p.dtype for p in trained.parameters()} == {torch.float32}


def test_average_is_an_exponential_one() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    ema = Ema(module, 0.5)
    torch.nn.init.ones_(module.weight)
    expected = 0.0
    for n in range(5):
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay)
        ema.update(module)
    assert float(next(ema.module.parameters())) == pytest.approx(expected)


def test_learning_rate_warms_up_and_ends_low() -> None:
    config = replace(TINY, steps=1000, warmup=100, learning_rate=1e-3, final_learning_rate=1e-6)
    assert learning_rate(config, 0) == pytest.approx(1e-5, rel=0.01)
    assert learning_rate(config, 100) > 0.9e-3
    assert learning_rate(config, 1000) == pytest.approx(1e-6)


@pytest.mark.parametrize("name", shipped_configs())
def test_shipped_configurations_are_valid(name: str) -> None:
    assert load_config(name).steps > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('network = "prior"', "missing required field"),
        ('network = "gan"\nsize = "small"\nsteps = 1', "network"),
        ('network = "prior"\nsize = "small"\nsteps = 0', "steps"),
        ('network = "prior"\nsize = "small"\nsteps = 1\nlog_weight = [1, -1]', "log_weight"),
        ('network = "prior"\nsize = "small"\nsteps = 1\n[data.exposure]\ndarkest = 9', "darkest"),
        ('network = "prior"\nsize = "small"\nsteps = 1\nstesp = 2', "stesp"),
        ('network = "prior"\nsize = "small"\nsteps = 1\n[data.crop]\nsize = "big"', "data.crop.size"),
        ("network = ", "Invalid value"),
    ],
)
def test_bad_configuration_names_the_value(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(TrainingError, match=message):
        load_config(str(path))


def test_a_configuration_extends_another_and_its_tables_hold_for_one_network(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(
        'network = "denoiser"\nsize = "paper"\nsteps = 9\n[data]\nresize = 99\n[prior]\nsteps = 5\nwarmup = 7'
    )
    own = tmp_path / "own.toml"
    own.write_text(f'extends = "{tmp_path / "base.toml"}"\nsize = "small"\n[data]\nlayout = "lol"')
    config = load_config(str(own))
    assert (config.network, config.size, config.steps) == ("denoiser", "small", 9)
    assert (config.data.layout, config.data.resize) == ("lol", 99)
    assert (load_config(str(own), "prior").steps, load_config(str(own), "prior").warmup) == (5, 7)
    own.write_text(own.read_text().replace("[data]", "steps = 3\n[data]"))
    assert load_config(str(own), "prior").steps == 3  # what extends comes after the tables of what it extends


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "nonsense"', "no configuration 'nonsense'"),
        ("extends = 3", "Expected `str"),
        ("prior = 3", "Expected `object"),
    ],
)
def test_bad_extension_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(TrainingError, match=message):
        load_config(str(tmp_path / "c.toml"))


def test_a_configuration_cannot_extend_itself(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(f'extends = "{path}"')
    with pytest.raises(TrainingError, match="extends itself"):
        load_config(str(path))


def test_unknown_configuration_lists_the_known() -> None:
    with pytest.raises(TrainingError, match="shadow-small-prior"):
        load_config("nonsense")


def test_bad_resume_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing to resume from"):
        fit(TINY, PHOTOS, tmp_path / "out", tmp_path, quiet=True)


def test_infinite_loss_stops_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def overflowing(config: FitConfig, diffusion: DiffusionConfig, prior: None) -> Objective:
        def loss(network: torch.nn.Module, batch: Sample, generator: torch.Generator) -> dict[str, torch.Tensor]:
            return {"loss": next(network.parameters()).sum() * float("inf")}

        return Objective(torch.nn.Linear(2, 2), loss, lambda network, batches: {"score": 0.0})

    monkeypatch.setattr("shadowdiffusion.training.fit.make_objective", overflowing)
    with pytest.raises(TrainingError, match="lower learning_rate"):
        fit(TINY, PHOTOS, tmp_path, quiet=True)
    assert not (tmp_path / "last.safetensors").exists()
