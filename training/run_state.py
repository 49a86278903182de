"""What a training run resumes from: `checkpoints/step_N`, complete or absent, in pieces small enough to carry anywhere.

A folder holds `state.json` (the step, the best score so far, ...) and `tensors.000`, `tensors.001`, ...: one
safetensors file of the weights, their average and the optimizer's state, cut into pieces of `PIECE` bytes. Random
states are not among them, since everything drawn in a run is a function of the seed and the step. Nothing is unpickled.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from shadowdiffusion.training.ema import Ema
from shadowdiffusion.training.errors import TrainingError

PIECE = 15 * 2**20  # bytes: below the 16 MiB that many carriers of files take


class Optimizer(Protocol):
    """An optimizer or Accelerate's wrapper of one."""

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


def save_run(
    root: Path, state: Mapping[str, Any], network: nn.Module, ema: Ema, optimizer: Optimizer, keep: int
) -> None:
    """Write `root/step_N`, N = state["step"], and delete all but the newest `keep` folders of that kind."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in ema.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
    target = root / f"step_{state['step']:07d}"
    partial = root / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    # safetensors stores row-major tensors only, and the network may be channels-last
    data = memoryview(save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}))
    for number, start in enumerate(range(0, len(data), PIECE)):
        (partial / f"tensors.{number:03d}").write_bytes(data[start : start + PIECE])
    (partial / "state.json").write_text(json.dumps(dict(state)))
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)
    for old in sorted(root.glob("step_*"))[:-keep]:
        shutil.rmtree(old)


def newest(resume: Path) -> Path:
    """`resume` itself if it is a `step_N` folder, else the newest below it. Raises TrainingError if there is none."""
    if (resume / "state.json").is_file():
        return resume
    found = sorted(p.parent for p in resume.glob("**/step_*/state.json"))
    if not found:
        raise TrainingError(f"nothing to resume from in {resume}: expected a step_N folder with state.json")
    return found[-1]


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a `step_N` folder, its pieces joined, on the CPU."""
    return load(b"".join(piece.read_bytes() for piece in sorted(folder.glob("tensors.*"))))


def load_run(folder: Path, network: nn.Module, ema: Ema, optimizer: Optimizer) -> dict[str, Any]:
    """Fill everything from a `step_N` folder and return its state.

    Raises TrainingError if a piece is missing or damaged, or the run was of another network.
    """
    try:
        tensors = read_tensors(folder)
        state: dict[str, Any] = json.loads((folder / "state.json").read_text())
        network.load_state_dict(_part(tensors, "network."))
        ema.load_state_dict(_part(tensors, "average."))
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _part(tensors, "optimizer.").items():
            index, name = key.split(".", 1)
            # in the parameter's memory format, as the optimizer itself makes them
            like = parameters[int(index)]
            kept = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
            moments.setdefault(int(index), {})[name] = kept
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        return state
    except Exception as error:  # torch, safetensors and json each have their own family
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TrainingError(f"cannot resume from {folder}: {reason}") from error


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
