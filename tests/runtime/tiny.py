"""Tiny bundles built node by node, and small pictures, so that no test of the runtime needs a trained
model.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pyvips
from onnx import TensorProto, helper, numpy_helper

from shadowdiffusion import runtime
from shadowdiffusion.export.passes.mask_head import split
from shadowdiffusion.runtime.bundle.folder import (
    Illumination,
    Manifest,
    ModelInfo,
    Sampling,
    Step,
    Versions,
    hash_files,
    write_manifest,
)

T = 100
MULTIPLE = 8
IMAGE, MASK = ["N", 3, "H", "W"], ["N", 1, "H", "W"]


def _graph(path: Path, nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any], **weights: Any) -> None:
    def values(shapes: dict[str, Any]) -> list[Any]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]

    initialisers = [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, path.stem, values(inputs), values(outputs), initialisers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def write_prior(path: Path) -> None:
    """clean = clip(image * (1 + 0.5 mask), 0, 1); matte = mask * (the image's first channel)."""
    nodes = [
        helper.make_node("Mul", ["mask", "half"], ["lift"]),
        helper.make_node("Add", ["lift", "one"], ["gain"]),
        helper.make_node("Mul", ["image", "gain"], ["bright"]),
        helper.make_node("Clip", ["bright", "zero", "one"], ["clean"]),
        helper.make_node("Split", ["image"], ["red", "green", "blue"], axis=1, num_outputs=3),
        helper.make_node("Mul", ["red", "mask"], ["matte"]),
    ]
    inputs = {"image": IMAGE, "mask": MASK}
    _graph(path, nodes, inputs, {"clean": IMAGE, "matte": MASK}, half=0.5, one=1.0, zero=0.0)


def write_denoiser(path: Path) -> None:
    """A 3x3 convolution of (image, mask, x_t, t / T), stride MULTIPLE inside so that unpadded sizes would
    fail.
    """
    rng = np.random.default_rng(0)
    channels = 8
    nodes = [
        helper.make_node("Reshape", ["t", "column"], ["t4"]),
        helper.make_node("Mul", ["t4", "per_t"], ["phase"]),
        helper.make_node("Mul", ["mask", "zero"], ["blank"]),
        helper.make_node("Add", ["blank", "phase"], ["time"]),
        helper.make_node("Concat", ["image", "mask", "x_t", "time"], ["all"], axis=1),
        helper.make_node("SpaceToDepth", ["all"], ["deep"], blocksize=MULTIPLE),
        helper.make_node("DepthToSpace", ["deep"], ["flat"], blocksize=MULTIPLE),
        helper.make_node("Conv", ["flat", "w"], ["both"], pads=[1, 1, 1, 1]),
        helper.make_node("Slice", ["both", "s0", "s3", "axis"], ["noise"]),
        helper.make_node("Slice", ["both", "s3", "s4", "axis"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["shadow"]),
    ]
    integers = {"column": [-1, 1, 1, 1], "s0": [0], "s3": [3], "s4": [4], "axis": [1]}
    constants = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(value, np.int64)))
        for name, value in integers.items()
    ]
    weight = rng.standard_normal((4, channels, 3, 3)) * 0.1
    inputs = {"image": IMAGE, "mask": MASK, "x_t": IMAGE, "t": ["N"]}
    _graph(path, constants + nodes, inputs, {"noise": IMAGE, "shadow": MASK}, per_t=1 / T, zero=0.0, w=weight)


def make_table(steps: int, *, rho: float = 0.2, sigma: float = 0.0, start: int | None = None) -> list[Step]:
    alpha_bars = np.cumprod(1 - np.linspace(1e-3, 0.2, T))
    times = range(0, T, T // steps) if start is None else [start * k // steps for k in range(1, steps + 1)]
    descending = list(times)[::-1]
    table = []
    for index, t in enumerate(descending):
        last = index + 1 == len(descending)
        following = 1.0 if last else float(alpha_bars[descending[index + 1]])
        table.append(Step(t, float(alpha_bars[t]), following, 0.0 if last else sigma, rho))
    return table


def make_sampling(**changes: Any) -> Sampling:
    start = changes.get("start")
    sigma = 0.02 if changes.get("eta") else 0.0
    tables = {str(steps): make_table(steps, sigma=sigma, start=start) for steps in (2, 5)}
    defaults = Sampling(
        default_steps=2,
        eta=0.0,
        rho_schedule="constant",
        rho_gamma=1.0,
        mask_policy="input",
        data_consistency=True,
        clamp=False,
        start=start,
        T=T,
        start_alpha_bar=None if start is None else tables["2"][0].alpha_bar,
        tables=tables,
    )
    return msgspec.structs.replace(defaults, **changes)


def write_bundle(
    path: Path, sampling: Sampling | None = None, *, prior: bool = True, golden: bool = False, head: bool = False
) -> Path:
    """head: whether the mask head is a graph of its own."""
    path.mkdir(parents=True)
    if prior:
        write_prior(path / "prior.onnx")
    write_denoiser(path / "denoiser.onnx")
    if head:
        denoiser, own = split(onnx.load(path / "denoiser.onnx"))
        onnx.save(denoiser, path / "denoiser.onnx")
        onnx.save(own, path / "mask_head.onnx")
    model = ModelInfo(
        denoiser_size="tiny",
        denoiser_parameters=288,
        prior_parameters=1 if prior else None,
        multiple=MULTIPLE,
        working_size=48,
        illumination=Illumination(1e-4, 0.01, 4.0),
        matte_threshold=0.25,
        blind_mask=0.5,
    )
    manifest = Manifest(
        format_version=2,
        name="tiny",
        task="shadow",
        created="2026-01-01T00:00:00Z",
        model=model,
        sampling=sampling or make_sampling(),
        files=hash_files(path),
        versions=Versions("2", "1", "0", 18),
    )
    write_manifest(path, manifest)
    if golden:
        rng = np.random.default_rng(7)
        image = rng.random((1, 3, 16, 24), np.float32)
        mask = (rng.random((1, 1, 16, 24)) > 0.5).astype(np.float32)
        restorer = runtime.load(path, "portable", "cpu", 1)
        expected = restorer.loop.restore(image, mask, restorer.bundle.table(2), [5]).image
        (path / "golden").mkdir()
        np.savez(path / "golden/input.npz", image=image, mask=mask, seed=5, steps=2)
        np.savez(path / "golden/expected.npz", x=expected)
        write_manifest(path, msgspec.structs.replace(manifest, files=hash_files(path)))
    return path


def picture(height: int, width: int, dtype: Any = np.uint8, channels: int = 3, seed: int = 0) -> Any:
    """A photo with smooth colour, texture, and a dark half."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    base = 0.5 + 0.3 * np.sin(rows[..., None] / 9 + np.arange(channels)) + 0.1 * rng.random((height, width, channels))
    base[columns > width / 2] *= 0.5
    if channels == 1:
        base = base[..., 0]
    if np.dtype(dtype).kind == "f":
        return base.clip(0, 1).astype(dtype)
    return np.rint(base.clip(0, 1) * np.iinfo(dtype).max).astype(dtype)


def save(path: Path, array: Any, change: Callable[[Any], None] | None = None, **options: Any) -> Path:
    """Write an array with libvips directly; `change` may set metadata on the image."""
    height, width = array.shape[:2]
    bands = 1 if array.ndim == 2 else array.shape[2]
    deep = array.dtype == np.uint16
    space = ("grey16" if deep else "b-w") if bands < 3 else ("rgb16" if deep else "srgb")
    image = pyvips.Image.new_from_memory(
        np.ascontiguousarray(array), width, height, bands, "ushort" if deep else "uchar"
    )
    image = image.copy(interpretation=space)
    if change:
        change(image)
    image.write_to_file(str(path), **options)
    return path


def load_pixels(path: Path) -> Any:
    """All bands of an image as stored, without applying orientation."""
    image = pyvips.Image.new_from_file(str(path), revalidate=True)
    return image.numpy().reshape(image.height, image.width, image.bands).squeeze(-1 if image.bands == 1 else ())
