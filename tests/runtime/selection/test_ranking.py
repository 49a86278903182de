"""Which of several engines is used, and what says so: devices, times at equal work, precisions and names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from shadowdiffusion import runtime
from shadowdiffusion.runtime.backends import onnxruntime_networks
from shadowdiffusion.runtime.bundle.device import Gpu, find_cpu
from shadowdiffusion.runtime.bundle.engines import StoredEngine, read_engine
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.commands.cli import app
from shadowdiffusion.runtime.errors import RestoreError
from shadowdiffusion.runtime.loop.networks import Used
from shadowdiffusion.runtime.selection import fit, selection
from shadowdiffusion.runtime.selection.fit import Machine
from shadowdiffusion.runtime.selection.selection import choose
from tests.runtime.selection.test_selection import MS, PORTABLE, add, chosen
from tests.runtime.tiny import picture, save


def ranked(opened: Bundle, folders: list[Path]) -> list[Path]:
    engines = [read_engine(folder) for folder in sorted(folders)]
    return [engine.path for engine in sorted(engines, key=lambda engine: selection._rank(engine, opened))]


def test_engines_are_ranked_by_device_sizes_backend_time_and_precision(opened: Bundle) -> None:
    wide: dict[str, Any] = {"profile": "32x32:48x48:48x48"}
    narrow: dict[str, Any] = {"profile": "48x48:48x48:48x48"}
    rtx: dict[str, Any] = {"backend": "tensorrt-rtx", "provider": None}
    full: dict[str, Any] = {"backend": "tensorrt", "provider": None}
    best_first = [
        add(opened, **full, **wide),
        add(opened, 1.0, {"latency_ms": {**MS, "denoiser.onnx": 5.0}}, **rtx, **wide),
        add(opened, 1.0, {"latency_ms": {"prior.onnx": 2.0, "denoiser.onnx": 4.7}}, **rtx, **wide, precision="fp16"),
        add(opened, **rtx, **wide, precision="fp16", batch="1:1:2"),
        add(opened, **rtx, **wide, batch="1:1:2"),
        add(opened, provider="cuda", **narrow),
        add(opened, **full, **narrow),
        add(opened, backend="cpu-kernels", **narrow),
        add(opened, **narrow),
    ]
    assert ranked(opened, best_first) == best_first


def test_times_are_compared_at_equal_work(opened: Bundle) -> None:
    """The working size is 48: a step of 16x16 pixels takes little of anything, and says little of 48x48."""

    def measured(profile: str, milliseconds: float, **changes: Any) -> Path:
        latency = dict.fromkeys(MS, milliseconds)
        return add(opened, 1.0, {"latency_ms": latency}, profile=profile, **changes)

    best_first = [
        measured("16x16:48x48:48x48", 8.9),  # 3.86 ms for 1000 pixels
        measured("16x16:32x48:48x48", 6.0),  # 3.91
        measured("16x16:32x48:48x48", 12.4, batch="1:2:4"),  # 4.04
        measured("16x16:16x16:48x48", 0.5),  # 1.95, but measured at another size
        measured("16x16:32x32:48x48", 2.1),  # 2.05, as well
    ]
    assert ranked(opened, best_first) == best_first


def test_the_steps_count_in_the_time_of_a_restoration(opened: Bundle) -> None:
    """Two steps: 1 + 2 * 3 against 5 + 2 * 1.5."""
    assert opened.manifest.sampling.default_steps == 2
    faster = add(opened, 1.0, {"latency_ms": {"prior.onnx": 1.0, "denoiser.onnx": 3.0}}, profile="16x16:48x48:48x48")
    slower = add(opened, 1.0, {"latency_ms": {"prior.onnx": 5.0, "denoiser.onnx": 1.5}}, profile="24x24:48x48:48x48")
    assert ranked(opened, [slower, faster]) == [faster, slower]


def test_precision_and_engine_can_be_named(opened: Bundle) -> None:
    fast = dict.fromkeys(MS, 1e-3)
    exact, low = add(opened), add(opened, 1.0, {"latency_ms": fast}, precision="int8")

    def title(**wanted: Any) -> str:
        return choose(opened, threads=1, say=lambda line: None, **wanted).title

    assert title() == title(precision="int8") == title(engine=low.name) == f"engine {low.name}"
    assert title(precision="fp32") == title(engine=exact.name) == f"engine {exact.name}"
    for wanted, words in (
        (
            {"precision": "fp16"},
            "no engine in fp16 can be used: the bundle has none: .* export build-engine",
        ),
        ({"precision": "fp17"}, "precision 'fp17' is unknown: choose one of fp32, fp16"),
        ({"engine": "other"}, f"the bundle has no engine other: .*{exact.name}"),
        ({"engine": low.name, "precision": "fp32"}, "is not what is asked for: its precision is int8"),
        ({"engine": low.name, "backend": "cpu-kernels"}, "is not what is asked for: it is of ONNX Runtime"),
        ({"engine": low.name, "device": "cuda"}, "is not what is asked for: it runs on cpu"),
        ({"engine": low.name, "backend": "portable"}, "backend portable has no engine"),
        ({"precision": "int8", "backend": "portable"}, "leave out precision int8"),
    ):
        with pytest.raises(RestoreError, match=words):
            title(**wanted)
    shutil.rmtree(exact)
    assert title(precision="fp32") == PORTABLE


def test_a_damaged_engine_that_was_named_is_an_error(opened: Bundle) -> None:
    folder = add(opened)
    (folder / "prior.engine").unlink()
    with pytest.raises(RestoreError, match=f"no engine {folder.name} can be used: .*prior.engine"):
        choose(opened, threads=1, engine=folder.name)


class Cuda:
    """Stands for ONNX Runtime on CUDA: networks on the CPU that say otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, starts: bool) -> None:
        real = onnxruntime_networks.OnnxRuntimeNetworks

        def networks(bundle: Bundle, device: str, threads: int | None, engine: StoredEngine | None = None) -> Any:
            made = real(bundle, "cpu", threads, engine)
            if device == "cuda":
                made.title = "ONNX Runtime on CUDA"
                if not starts:
                    monkeypatch.setattr(made, "start", self.fail)
            return made

        gpu = Machine(Gpu("NVIDIA L4", 89, "580"), find_cpu())
        monkeypatch.setattr(fit, "this_machine", lambda: gpu)
        monkeypatch.setattr(onnxruntime_networks, "OnnxRuntimeNetworks", networks)
        monkeypatch.setattr(onnxruntime_networks, "has_cuda", lambda: True)
        monkeypatch.setattr(selection, "whole_loop", lambda *_: None)

    @staticmethod
    def fail() -> None:
        raise RestoreError("ONNX Runtime could not start CUDA")


def test_every_gpu_comes_before_any_cpu(opened: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = add(opened)
    assert chosen(opened)[0] == f"engine {engine.name}"
    Cuda(monkeypatch, starts=True)
    assert chosen(opened) == ("ONNX Runtime on CUDA", [])
    assert chosen(opened, "onnxruntime")[0] == chosen(opened, "portable")[0] == "ONNX Runtime on CUDA"
    assert choose(opened, device="cpu", threads=1).title == f"engine {engine.name}"


def test_a_gpu_that_does_not_start_leaves_the_cpu(opened: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = add(opened)
    chosen(opened)
    Cuda(monkeypatch, starts=False)
    said = ["ONNX Runtime on CUDA is passed over: ONNX Runtime could not start CUDA"]
    assert chosen(opened) == (f"engine {engine.name}", said)
    assert chosen(opened, "portable") == (PORTABLE, said)
    with pytest.raises(RestoreError, match="could not start CUDA"):
        choose(opened, device="cuda", threads=1)


def test_the_record_says_what_ran(opened: Bundle, tmp_path: Path) -> None:
    folder = add(opened, precision="int8")
    photo = save(tmp_path / "photo.png", picture(24, 32))
    ran = {"backend": "onnxruntime", "engine": folder.name, "precision": "int8", "device": "cpu"}
    command = ["restore", str(photo), "--bundle", str(opened.path), "--threads", "1"]
    people = CliRunner().invoke(app, command)
    assert people.stdout.splitlines()[-1] == f"restored by onnxruntime on the CPU, int8, engine {folder.name}"
    programs = CliRunner().invoke(app, [*command, "--json", "--force"])
    assert json.loads(programs.stdout)["used"] == ran
    notes = (tmp_path / ".shadowdiffusion.jsonl").read_text().splitlines()
    assert json.loads(notes[-1])["used"] == ran
    exact = CliRunner().invoke(app, [*command, "--precision", "fp32", "--force"])
    assert exact.stdout.splitlines()[-1] == "restored by onnxruntime on the CPU, fp32"
    assert runtime.load(opened.path, threads=1, precision="fp32")(photo).used == Used(
        "onnxruntime", None, "fp32", "cpu"
    )
    named = CliRunner().invoke(app, [*command, "--engine", folder.name, "--force", "--json"])
    assert json.loads(named.stdout)["used"] == ran
