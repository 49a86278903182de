"""What an ONNX file says of itself, so that it can be used without its bundle: values, ranges, sizes, origin.

The description changes no node and no weight. Every text about a value stands twice: as its documentation in the graph,
for viewers, and in the metadata of the model, which ONNX Runtime hands out (`session.get_modelmeta()`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from shadowdiffusion.runtime.bundle.folder import DENOISER, FORMAT_VERSION, MASK_HEAD, PRIOR, Task, Versions

if TYPE_CHECKING:
    from onnx import ModelProto

PRODUCER = "shadowdiffusion"
BATCH, HEIGHT, WIDTH = "N", "height", "width"
NETWORKS = {
    DENOISER: "The denoiser of a diffusion model that restores photographs: one evaluation at one timestep.",
    PRIOR: "The degradation prior: an estimate of the clean photo, and of the mask of its degradation.",
    MASK_HEAD: "The mask head of the denoiser: the mask of the degradation, from the features of the denoiser.",
}
IMAGE = "degraded photo y, RGB, sRGB-encoded, values in"
MASK = "mask of the degradation, 1 = degraded, values in [0, 1]"
VALUES: dict[tuple[str, str], str] = {
    (DENOISER, "image"): f"{IMAGE} [-1, 1]",
    (DENOISER, "mask"): MASK,
    (DENOISER, "x_t"): "state of the diffusion, standard normal noise at the first step, clean values in [-1, 1]",
    (DENOISER, "row"): "row Step.row of denoiser.rows.npy: the timestep, as all that the network computes from it",
    (DENOISER, "t"): "raw timestep of each image, from 0 to T - 1",
    (DENOISER, "noise"): "predicted noise in x_t, about standard normal",
    (DENOISER, "features"): "last features of the network, unbounded: the input of mask_head.onnx",
    (DENOISER, "shadow"): "predicted mask of the degradation, values in [0, 1]",
    (PRIOR, "image"): f"{IMAGE} [0, 1]",
    (PRIOR, "mask"): f"{MASK}; the manifest's blind_mask everywhere where no mask is known",
    (PRIOR, "clean"): "estimate of the clean photo, RGB, sRGB-encoded, values in [0, 1]",
    (PRIOR, "matte"): "predicted matte of the degradation, 1 = degraded, values in [0, 1]",
    (MASK_HEAD, "features"): "output `features` of denoiser.onnx, unbounded",
    (MASK_HEAD, "shadow"): "predicted mask of the degradation, values in [0, 1]",
}


def describe(model: ModelProto, name: str, task: Task, multiple: int, versions: Versions) -> None:
    """Write the description into `model`, in place of any earlier one.

    Args:
        model: the network; changed in place.
        name: its file in the bundle, one of `NETWORKS`.
        task: what the bundle is for.
        multiple: height and width of every image are multiples of this many pixels.
        versions: what produced the bundle.
    """
    from onnx import helper

    graph, subject = model.graph, name.removesuffix(".onnx")
    name_dimensions(model)
    graph.name, graph.doc_string = subject, ""
    model.doc_string = f"{NETWORKS[name]} {HEIGHT} and {WIDTH} are multiples of {multiple} pixels."
    own = versions.shadowdiffusion
    model.producer_name = PRODUCER
    model.producer_version = own if own[:1].isdigit() else ""  # a checkout that is not installed has no version
    facts = {
        "network": subject,
        "task": task,
        "bundle_format_version": str(FORMAT_VERSION),
        "size_multiple": str(multiple),
        "exporter": f"PyTorch {versions.torch}, onnx {versions.onnx}",
    }
    kinds: tuple[Literal["input", "output"], ...] = ("input", "output")
    for kind in kinds:
        for value in graph.input if kind == "input" else graph.output:
            value.doc_string = VALUES[name, value.name]
            facts[f"{kind}.{value.name}"] = value.doc_string
    helper.set_model_props(model, facts)


def name_dimensions(model: ModelProto) -> None:
    """Give the open dimensions of inputs and outputs one name each, in place: N, height, width and parts of them.

    A part is written "height/2" and keeps its name; the tracer's "16*h" becomes "height".
    """
    names = {0: BATCH, 2: HEIGHT, 3: WIDTH}
    for value in (*model.graph.input, *model.graph.output):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value") and "/" not in dim.dim_param:
                dim.dim_param = names[axis]
