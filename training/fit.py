"""The training loop: one network, any number of devices (Hugging Face Accelerate), resumable at any checkpoint."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from shadowdiffusion.training.checkpoint import Model, load_checkpoints, save_checkpoint
from shadowdiffusion.training.config import FitConfig
from shadowdiffusion.training.datasets import Dataset, PhotographedPairs, Sample, SyntheticPairs
from shadowdiffusion.training.degradation import DegradationPrior
from shadowdiffusion.training.denoiser import Denoiser
from shadowdiffusion.training.ema import Ema
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.layouts import triplets
from shadowdiffusion.training.objective import Objective, Trainable, make_objective
from shadowdiffusion.training.run_state import load_run, newest, save_run
from shadowdiffusion.training.schedule import DiffusionConfig

if TYPE_CHECKING:
    from accelerate import Accelerator

VALIDATION_SEED = 1_000_003  # added to the run's seed: validation shadows never occur in training


class _Stream(TorchDataset[Sample]):
    """Samples `start`, `start + 1`, ... of a dataset, as PyTorch's loader wants them."""

    def __init__(self, dataset: Dataset, start: int, length: int) -> None:
        self.dataset, self.start, self.length = dataset, start, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        return self.dataset.sample(self.start + index)


def open_data(config: FitConfig, folder: Path) -> tuple[Dataset, Dataset]:
    """Training and validation data below `folder`, by the configured layout."""
    data = config.data
    if data.layout == "photos":
        degradation = data.shadow if config.task == "shadow" else data.exposure
        fixed = {"crop": data.crop, "degradation": degradation, "groups": data.groups}
        return (
            SyntheticPairs(folder / "train", config.seed, **fixed),  # type: ignore[arg-type]
            SyntheticPairs(folder / "val", config.seed + VALIDATION_SEED, **fixed),  # type: ignore[arg-type]
        )
    cut = {
        "size": data.crop.size,
        "resize": data.resize,
        "unknown_mask": data.unknown_mask,
        "everywhere": config.task != "shadow",
    }
    train, validation = (triplets(folder, split, data.layout) for split in ("train", "validation"))
    if train == validation:
        raise TrainingError(f"{folder} has no pairs to validate on but those to train on: make folders train and test")
    return (
        PhotographedPairs(train, config.seed, **cut),  # type: ignore[arg-type]
        PhotographedPairs(validation, config.seed + VALIDATION_SEED, **cut),  # type: ignore[arg-type]
    )


def learning_rate(config: FitConfig, step: int) -> float:
    """Linear warm-up, then a half cosine from `learning_rate` to `final_learning_rate`."""
    warm = min(1.0, (step + 1) / max(config.warmup, 1))
    cosine = 0.5 * (1 + math.cos(math.pi * min(step / config.steps, 1.0)))
    low = config.final_learning_rate
    return warm * (low + (config.learning_rate - low) * cosine)


def fit(
    config: FitConfig,
    data: Path,
    output: Path,
    resume: Path | None = None,
    initial: Path | None = None,
    prior: Path | None = None,
    quiet: bool = False,
) -> Path:
    """Train one network and return the best checkpoint's path.

    `output` receives `best.safetensors` (by validation score) and `last.safetensors`, both holding the averaged
    weights, `checkpoints/step_N/` to resume from, `log.jsonl` and TensorBoard events.

    Args:
        data: folder with the photos or pairs, see `DataConfig`.
        resume: a `step_N` folder, or the `checkpoints` folder for the newest one in it.
        initial: checkpoint file whose weights to begin with, of any task; `resume` takes precedence.
        prior: checkpoint file of the finished prior that `config.from_prior` is about, which stays as it is.

    Raises:
        TrainingError: bad data, an unusable checkpoint, a prior that is missing or in vain, or a loss that is no
            longer finite.
    """
    from accelerate import Accelerator
    from accelerate.utils import set_seed

    frozen = _frozen_prior(config, prior)
    accelerator = Accelerator(mixed_precision=config.precision, log_with="tensorboard", project_dir=str(output))
    set_seed(config.seed)
    train_data, validation_data = open_data(config, data)
    diffusion = DiffusionConfig()
    objective = make_objective(config, diffusion, None if frozen is None else frozen.to(accelerator.device))
    if initial is not None:
        _begin_with(objective.network, initial)
    objective.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trainable = Trainable(objective)
    optimizer = torch.optim.AdamW(
        trainable.parameters(), lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
    )
    prepared, optimizer = accelerator.prepare(trainable, optimizer)
    ema = Ema(objective.network, config.ema)
    state: dict[str, Any] = {"step": 0, "best": -math.inf, "initial": None if initial is None else initial.name}
    if resume is not None:
        state = load_run(newest(resume), objective.network, ema, optimizer)
    done = int(state["step"])
    if done >= config.steps:
        raise TrainingError(f"the checkpoint is at step {done} of {config.steps}: ask for more steps, or do not resume")
    if accelerator.is_main_process:
        output.mkdir(parents=True, exist_ok=True)
        (output / "config.json").write_text(json.dumps(config.as_dict(), indent=1))
    recipe = {**config.as_dict(), "initial": state.get("initial"), "prior": None if prior is None else prior.name}
    accelerator.init_trackers("tensorboard")
    validation = list(DataLoader(_Stream(validation_data, 0, config.validation_samples), batch_size=config.batch))

    width = config.batch * accelerator.num_processes
    stream = _Stream(train_data, done * width, (config.steps - done) * width)
    # libvips has threads, and a forked process inherits their locks without them
    context = "spawn" if config.workers else None
    loader = accelerator.prepare(
        DataLoader(stream, batch_size=config.batch, num_workers=config.workers, multiprocessing_context=context)
    )
    generator = torch.Generator(device=accelerator.device)
    progress = _Progress(config, width, done, quiet or not accelerator.is_main_process)
    with progress:
        for step, batch in enumerate(loader, start=done):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, step)
            # a function of the step alone, so that a resumed run draws what an uninterrupted one would
            generator.manual_seed(hash((config.seed, step, accelerator.process_index)) % 2**63)
            parts = prepared(batch, generator)
            if not torch.isfinite(parts["loss"]):
                raise TrainingError(
                    f"the loss is {float(parts['loss'])} at step {step}: lower learning_rate "
                    f"({config.learning_rate:g}) and resume from {output / 'checkpoints'}"
                )
            accelerator.backward(parts["loss"])
            values = {key: float(value.detach()) for key, value in parts.items()}
            accelerator.clip_grad_norm_(trainable.parameters(), config.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            ema.update(objective.network)
            done = step + 1
            progress.step(done, values)
            if done % 20 == 0:
                accelerator.log({f"train/{k}": v for k, v in values.items()}, step=done)
            last = done == config.steps
            if done % config.validate_every == 0 or last:
                state["best"] = _validate(
                    accelerator,
                    objective,
                    ema,
                    recipe,
                    diffusion,
                    validation,
                    output,
                    done,
                    state["best"],
                    progress,
                )
            if done % config.checkpoint_every == 0 or last:
                if accelerator.is_main_process:
                    now = {**state, "step": done}
                    save_run(output / "checkpoints", now, objective.network, ema, optimizer, config.keep_checkpoints)
                accelerator.wait_for_everyone()
    accelerator.end_training()
    return output / "best.safetensors"


def _frozen_prior(config: FitConfig, path: Path | None) -> DegradationPrior | None:
    """The prior whose estimates a denoiser is trained on, None where the configuration wants none."""
    if config.from_prior is None:
        if path is not None:
            raise TrainingError(f"--prior {path} is for configurations with a table [from_prior]: this one has none")
        return None
    if path is None:
        raise TrainingError("this configuration trains on the estimates of a prior: give its checkpoint with --prior")
    found = load_checkpoints(path).prior
    if found is None:
        raise TrainingError(f"{path} holds no prior: give the checkpoint of one with --prior")
    return found.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _begin_with(network: nn.Module, path: Path) -> None:
    """Copy the weights of the same network in another checkpoint, whatever its task: fine-tuning."""
    model = load_checkpoints(path)
    source = model.prior if isinstance(network, DegradationPrior) else model.denoiser
    if source is None:
        raise TrainingError(f"{path} holds no {type(network).__name__} to begin with")
    try:
        # weights that the other network was made without keep their first values
        fresh = {name: value for name, value in network.state_dict().items() if name.startswith(("trust", "veil_head"))}
        network.load_state_dict(fresh | source.state_dict())
    except RuntimeError:
        raise TrainingError(f"{path} holds a {type(network).__name__} of another size than configured") from None


def _validate(
    accelerator: Accelerator,
    objective: Objective,
    ema: Ema,
    recipe: dict[str, Any],
    diffusion: DiffusionConfig,
    batches: list[Sample],
    output: Path,
    step: int,
    best: float,
    progress: _Progress,
) -> float:
    """Score the averaged weights, write `last` and perhaps `best`, and return the best score so far."""
    from accelerate.utils import send_to_device

    if accelerator.is_main_process:
        with torch.no_grad():
            scores = objective.score(ema.module, (send_to_device(batch, accelerator.device) for batch in batches))
        network = ema.module
        model = Model(
            denoiser=network if isinstance(network, Denoiser) else None,
            prior=network if isinstance(network, DegradationPrior) else None,
            diffusion=diffusion,
            task=recipe["task"],
            recipe={recipe["network"]: {**recipe, "trained_steps": step, "validation": scores}},
        )
        save_checkpoint(output / "last.safetensors", model)
        # a run resumed into a new folder keeps the score to beat, but has no file of it there
        if scores["score"] > best or not (output / "best.safetensors").exists():
            best = max(best, scores["score"])
            save_checkpoint(output / "best.safetensors", model)
        record = {"step": step, **progress.averages(), **{f"val_{k}": v for k, v in scores.items()}}
        with (output / "log.jsonl").open("a") as log:
            log.write(json.dumps(record) + "\n")
        progress.note(f"step {step}: " + ", ".join(f"{k} {v:.4g}" for k, v in record.items() if k != "step"))
        accelerator.log({f"validation/{k}": v for k, v in scores.items()}, step=step)
    accelerator.wait_for_everyone()
    return best


class _Progress:
    """Progress bar with loss, images per second and time left; averages between validations for the log."""

    def __init__(self, config: FitConfig, images: int, done: int, quiet: bool) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}  {task.fields[rate]:.1f} images/s"),
            TimeRemainingColumn(),
            disable=quiet,
        )
        self._task = self._bar.add_task(config.network, total=config.steps, completed=done, loss=0.0, rate=0.0)
        self._images = images  # per step, over all processes
        self._quiet = quiet
        self._clear()

    def _clear(self) -> None:
        self._sums: dict[str, float] = {}
        self._count = 0
        self._since = time.perf_counter()

    def step(self, done: int, parts: dict[str, float]) -> None:
        for key, value in parts.items():
            self._sums[key] = self._sums.get(key, 0.0) + value
        self._count += 1
        rate = self._count * self._images / (time.perf_counter() - self._since)
        self._bar.update(self._task, completed=done, loss=parts["loss"], rate=rate)

    def averages(self) -> dict[str, float]:
        """Mean of every part since the last call, and images per second."""
        seconds = time.perf_counter() - self._since
        result = {key: value / max(self._count, 1) for key, value in self._sums.items()}
        result["images_per_second"] = self._count * self._images / seconds
        self._clear()
        return result

    def note(self, line: str) -> None:
        if not self._quiet:
            self._bar.console.print(line, highlight=False, soft_wrap=True)

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
