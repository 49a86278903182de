"""docs/bundle.md: its code runs as it stands, and its tables name every field that there is."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from shadowdiffusion.runtime.bundle import folder, gpu_kernels
from shadowdiffusion.runtime.bundle.folder import NETWORKS, Bundle, Task
from shadowdiffusion.runtime.bundle.opening import load_bundle

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "bundle.md").read_text("utf-8")
CODE = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
STRUCTS = (
    *(folder.Manifest, folder.ModelInfo, folder.Illumination, folder.Sampling, folder.Step, folder.FileEntry),
    *(folder.Versions, folder.Verification, folder.Difference, folder.Note),
    *(gpu_kernels.Kernel, gpu_kernels.KernelArgument, gpu_kernels.KernelBuild),
)


def snippet(word: str) -> str:
    (found,) = [code for code in CODE if word in code]
    return str(found)


@pytest.mark.parametrize("task", ["shadow", "exposure", "low-light"])
def test_the_loop_in_numpy_makes_the_golden_result(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    loop = snippet('run("denoiser"')
    imported = set(re.findall(r"^(?:import|from) (\w+)", loop, re.MULTILINE))
    assert imported <= {"numpy", "onnxruntime"} | set(sys.stdlib_module_names)
    values: dict[str, Any] = {}
    exec(snippet("def gaussian"), values)
    exec(loop.replace("builtin/shadow", f"builtin/{task}"), values)
    expected = np.load(ROOT / "runtime" / "builtin" / task / "golden" / "expected.npz")["x"]
    error = float(np.square(values["restored"].astype(float) - expected).mean())
    assert 10 * np.log10(1 / max(error, 1e-30)) > 110  # measured: 150 dB
    assert values["shadow"].shape == values["mask"].shape


def test_the_noise_is_that_of_the_runtime() -> None:
    from shadowdiffusion.runtime.loop.noise import gaussian

    values: dict[str, Any] = {}
    exec(snippet("def gaussian"), values)
    for seed, step, image in ((0, 0, 0), (2**64 - 1, 7, 3), (123456789012, 2, 1)):
        found = values["gaussian"](9, 14, seed, step, image)[0]
        np.testing.assert_allclose(found, gaussian(9, 14, seed=seed, step=step, image=image), rtol=1e-5, atol=1e-6)


def test_every_field_is_in_the_table() -> None:
    table = TEXT[TEXT.index("## Manifest") : TEXT.index("## Formulas")]
    fields = [(struct.__name__, field.encode_name) for struct in STRUCTS for field in msgspec.structs.fields(struct)]
    assert len(fields) > 60
    assert [item for item in fields if not re.search(rf"`(\w+\.)*{item[1]}[.`]", table)] == []


def test_an_older_bundle_is_described_as_a_new_one(bundle: Bundle, tmp_path: Path) -> None:
    path = Path(shutil.copytree(bundle.path, tmp_path / "old"))
    for name in NETWORKS:
        model = onnx.load_model(path / name)
        model.doc_string = model.producer_name = ""
        del model.metadata_props[:]
        for value in model.graph.input:
            value.doc_string = ""
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param == "height":
                    dim.dim_param = "16*h"
        onnx.save_model(model, path / name)
    manifest = msgspec.structs.replace(bundle.manifest, files=folder.hash_files(path))
    folder.write_manifest(path, manifest)
    assert load_bundle(path).manifest.files != bundle.manifest.files
    exec(snippet("import describe"), {"folder": path})
    assert load_bundle(path).manifest.files == bundle.manifest.files
