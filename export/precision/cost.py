"""What float16 costs: the mixed graph against the float32 one, on the example photo, by ONNX Runtime on the CPU.

The CPU rounds every float16 value as the graph says, but adds up in float32, as GPUs do in their matrix units. It
says nothing about the speed on a GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from export.errors import ExportError
from export.photos import golden_sample
from export.precision.mixed import half_values
from export.verify import psnr
from runtime.bundle import DENOISER, Bundle
from runtime.noise import gaussian
from runtime.time_table import read_rows

if TYPE_CHECKING:
    from onnx import ModelProto

HALF_DB = 40.0
"""PSNR that every output of a float16 graph must reach, peak 1, the range of images and masks; rounding alone leaves
more than 50 dB.
"""


def half_cost(network: str, single: ModelProto, mixed: ModelProto, bundle: Bundle) -> dict[str, float]:
    """Worst PSNR in dB of every output of `mixed` against `single`, over the first and last default timestep.

    Every float16 value inside is looked at: one that overflows, or an output below HALF_DB, raises ExportError.
    """
    from onnx import ModelProto, TensorProto, helper

    watched = ModelProto()
    watched.CopyFrom(mixed)
    inner = half_values(mixed)
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT16, None) for name in inner)
    outputs = [value.name for value in single.graph.output]
    reference, half, worst = _session(single), _session(watched), dict[str, float]()
    for feed in _feeds(network, bundle):
        expected = reference.run(outputs, feed)
        found = half.run([*outputs, *inner], feed)
        for name, values in zip([*outputs, *inner], found, strict=True):
            if not np.isfinite(values).all():
                raise ExportError(f"{name} of {network} overflows in float16: build with --precision fp32")
        for name, result, truth in zip(outputs, found, expected, strict=False):
            label = f"{network.removesuffix('.onnx')}_{name}_psnr"
            worst[label] = min(psnr(result, truth), worst.get(label, np.inf))
    for label, value in worst.items():
        if value < HALF_DB:
            found_text = f"{label} is {value:.1f} dB, {HALF_DB:g} dB are needed"
            raise ExportError(f"float16 costs too much in {network} ({found_text}): build with --precision fp32")
    return {label: round(value, 2) for label, value in worst.items()}


def _feeds(network: str, bundle: Bundle) -> list[dict[str, Any]]:
    """Inputs of the network on the example photo, or on a synthetic scene where that is absent."""
    manifest, rows = bundle.manifest, read_rows(bundle)
    example = golden_sample((), manifest.model.multiple)
    feed = {"image": example.image, "mask": example.mask}
    if network != DENOISER:
        return [feed]
    table = manifest.sampling.tables[str(manifest.sampling.default_steps)]
    feeds = []
    for step in {table[0].t: table[0], table[-1].t: table[-1]}.values():
        noise = gaussian(*example.image.shape[2:], seed=1, step=step.t)[None]
        image, level = 2 * example.image - 1, step.alpha_bar
        noisy = (np.sqrt(level) * image + np.sqrt(1 - level) * noise).astype(np.float32)
        time = {"t": np.full(1, step.t, np.float32)} if rows is None else {"row": rows[step.row, None]}
        feeds.append({"image": image, "mask": example.mask, "x_t": noisy} | time)
    return feeds


def _session(model: ModelProto) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # round where it says so
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
