"""PyTorch network -> portable ONNX file with dynamic batch, height and width.

Opset 18 on purpose: its instance-norm form of GroupNorm has fast kernels everywhere. The native
GroupNormalization of opset 21 has none in ONNX Runtime's CPU provider; several TensorRT releases refuse it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from shadowdiffusion.export.background import in_background
from shadowdiffusion.export.description import name_dimensions
from shadowdiffusion.export.errors import ExportError

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import Tensor, nn

    from shadowdiffusion.training.degradation import DegradationPrior
    from shadowdiffusion.training.denoiser import Denoiser

OPSET = 18


def export_denoiser(denoiser: Denoiser) -> ModelProto:
    """The denoiser as an ONNX model, weights in float32.

    Inputs: `image` and `x_t` float32[N, 3, H, W] in [-1, 1], `mask` float32[N, 1, H, W] in [0, 1], `t`
    float32[N] raw timestep. Outputs: `noise` float32[N, 3, H, W], `shadow` float32[N, 1, H, W] in [0, 1].
    H and W are multiples of `denoiser.config.multiple`. Raises ExportError if the exporter gives up.
    """
    import torch

    multiple = denoiser.config.multiple
    image, mask = _example(multiple)
    spatial = _spatial(multiple)
    shapes = {"y": spatial, "mask": spatial, "x_t": spatial, "t": {0: spatial[0]}}
    example = (image, mask, image.clone(), torch.tensor([400.0, 0.0]))
    return _export(denoiser, example, shapes, ["image", "mask", "x_t", "t"], ["noise", "shadow"])


def export_prior(prior: DegradationPrior) -> ModelProto:
    """The degradation prior as an ONNX model, weights in float32.

    Inputs `image` float32[N, 3, H, W] and `mask` float32[N, 1, H, W], outputs `clean` float32[N, 3, H, W] and
    `matte` float32[N, 1, H, W], all in [0, 1]. H and W are multiples of `prior.config.multiple`. Raises ExportError.
    """
    multiple = prior.config.multiple
    spatial = _spatial(multiple)
    shapes = {"image": spatial, "mask": spatial}
    return _export(prior, _example(multiple), shapes, ["image", "mask"], ["clean", "matte"])


def _example(multiple: int) -> tuple[Tensor, Tensor]:
    """Inputs that stand for any size: tracing would take a dimension of 1, or two equal ones, as a fact."""
    import torch

    height, width = 4 * multiple, 6 * multiple
    return torch.full((2, 3, height, width), 0.4), torch.full((2, 1, height, width), 0.5)


def _spatial(multiple: int) -> dict[int, Any]:
    from torch.export import Dim

    return {0: Dim("N"), 2: multiple * Dim("h"), 3: multiple * Dim("w")}


def _export(
    module: nn.Module,
    example: tuple[Tensor, ...],
    shapes: dict[str, Any],
    inputs: list[str],
    outputs: list[str],
) -> ModelProto:
    import torch

    def trace() -> torch.onnx.ONNXProgram | None:
        return torch.onnx.export(
            module.eval(),
            example,
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=shapes,
            input_names=inputs,
            output_names=outputs,
            verbose=False,
        )

    try:
        with _quiet():
            program = in_background(trace)
            if program is None:
                raise ExportError("torch.onnx.export returned nothing: is onnxscript installed?")
            model = program.model_proto
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ExportError(f"PyTorch could not export {type(module).__name__} to ONNX: {reason}") from error
    _strip(model)
    name_dimensions(model)
    return model


def _strip(model: ModelProto) -> None:
    """Drop what tracing left behind: stack traces with this machine's paths, shapes of inner values."""
    graph = model.graph
    model.doc_string = graph.doc_string = ""
    del model.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    for item in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        item.doc_string = ""
        del item.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hush the exporter: it prints, warns and logs about things that its users cannot change."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
