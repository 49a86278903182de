"""Figures that are the same on every machine, counted: what a restoration launches, copies, allocates and imports.

`python -m tests.benchmarks.counting` writes them to benchmarks/expectations.json, with which a test compares them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
EXPECTATIONS = ROOT / "benchmarks" / "expectations.json"
SIDE = 32
FEW, MANY = 2, 5
"""Step counts whose difference is what a step takes."""


def counted(folder: Path) -> dict[str, Any]:
    """Everything, by name. folder: an empty one, to work in."""
    from shadowdiffusion.benchmarks.models.subject import tiny_subject
    from shadowdiffusion.runtime.bundle.folder import DEFAULT_BUNDLE

    tiny = tiny_subject(lambda line: None)
    return {
        "graph nodes": {
            "built-in bundle": nodes(DEFAULT_BUNDLE),
            "tiny networks, plain": nodes(tiny.plain),
            "tiny networks, exported": nodes(tiny.bundle.path),
        },
        "loop on a GPU": gpu_work(folder),
        "sampler on a CPU": sampler_memory(),
        "imports": {
            "shadowdiffusion --help": imported(
                "from shadowdiffusion.runtime.commands.cli import main; main()", "--help"
            ),
            "runtime": imported("from shadowdiffusion import runtime; runtime.load"),
            "runtime and the built-in bundle": imported(
                "from shadowdiffusion import runtime; runtime.load(device='cpu')"
            ),
        },
        "megabytes of the installed runtime": installed(),
    }


def nodes(folder: Path) -> dict[str, int]:
    """Nodes of every graph in a folder."""
    import onnx

    return {
        file.name: len(onnx.load_model(file, load_external_data=False).graph.node)
        for file in sorted(folder.glob("*.onnx"))
    }


def gpu_work(folder: Path) -> dict[str, Any]:
    """Of a photo restored by captured graphs, on a driver made in Python: work on the device, and calls."""
    import pytest

    from shadowdiffusion.runtime.backends import tensorrt_networks
    from shadowdiffusion.runtime.gpu.cuda import Cuda
    from tests.runtime.fake_gpu import Driver
    from tests.runtime.fake_tensorrt import TensorRT
    from tests.runtime.gpu.test_device_loop import loops, made, photos

    with pytest.MonkeyPatch.context() as patch:
        driver = Driver()
        patch.setattr(tensorrt_networks, "Cuda", lambda: Cuda(driver.load))
        patch.setitem(sys.modules, "tensorrt", TensorRT(driver))
        gpu, _ = loops(made(folder / "bundle", rows=True))
        image, mask = photos()

        def work(steps: int) -> tuple[Counter[str], Counter[str]]:
            for _ in range(3):  # the first captures, the others launch what was captured
                driver.done.clear()
                driver.calls.clear()
                gpu.restore(image, mask, gpu._bundle.table(steps), [7])
            return Counter(driver.done), Counter(driver.calls)

        (few, _), (many, calls) = work(FEW), work(MANY)
        each = {name: (many[name] - few[name]) / (MANY - FEW) for name in many}
    return {
        "per step": _counts(each),
        f"per image of {MANY} steps": _counts(many),
        "driver calls per image, once captured": _counts(calls),
    }


def sampler_memory() -> dict[str, float]:
    """The most that the sampler holds beside its inputs, as a multiple of an image; the network's output is one."""
    from shadowdiffusion.export.schedule import sampling_section
    from shadowdiffusion.runtime.loop.sampler import sample
    from shadowdiffusion.training.sampler import SamplerOptions
    from shadowdiffusion.training.schedule import DiffusionConfig

    side = 8 * SIDE
    sampling = sampling_section(SamplerOptions(), DiffusionConfig())
    rng = np.random.default_rng(0)
    y, h, clean = (rng.random((1, 3, side, side), np.float32) + 0.1 for _ in range(3))

    def held(steps: int) -> float:
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        sample(
            lambda y, mask, x, step, with_mask: (0.5 * x, None),
            y,
            y[:, :1],
            h,
            clean,
            lambda step: np.zeros_like(y),
            sampling,
            sampling.tables[str(steps)],
            with_mask=False,
        )
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return round((peak - before) / y.nbytes, 1)

    held(FEW)  # what is made only once
    return {f"images held in {steps} steps": held(steps) for steps in (FEW, MANY)}


def imported(program: str, *arguments: str) -> dict[str, Any]:
    """Modules of ours, and packages of others, that a new process has imported when a program ends."""
    listing = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        f"{program}"
    )
    line = [sys.executable, "-c", listing, *arguments]
    done = subprocess.run(line, cwd=ROOT, env=_plain(), capture_output=True, text=True)
    modules = json.loads(done.stderr.splitlines()[-1])
    own = {"shadowdiffusion", "__main__"}
    others = {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names) - own
    public = sorted(name for name in others if not name.startswith("_") and "mypyc" not in name)
    ours = sum(name.startswith("shadowdiffusion.runtime") for name in modules)
    return {"modules of ours": ours, "packages of others": public}


def installed() -> float:
    """Programs and bundles, without bytecode and the C++ library, which no wheel takes along."""
    runtime = ROOT / "runtime"
    files = (file for file in runtime.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    files = (file for file in files if runtime / "cpp" not in file.parents)
    return round(sum(file.stat().st_size for file in files) / 1e6, 1)


def _counts(found: Any) -> dict[str, int]:
    """Sorted, without what does not happen; whole numbers or an error."""
    assert all(value == int(value) for value in found.values())
    return {name: int(found[name]) for name in sorted(found) if found[name]}


def _plain() -> dict[str, str]:
    """The environment without what changes imports."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "PYTEST", "TRITON"))}


def main() -> None:
    """Count, and write what is expected from now on."""
    os.environ["TRITON_INTERPRET"] = "1"  # Triton decides when it is imported
    with tempfile.TemporaryDirectory() as folder:
        found = counted(Path(folder))
    EXPECTATIONS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(EXPECTATIONS)


if __name__ == "__main__":
    main()
