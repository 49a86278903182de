"""Every graph pass by name, in running order: what it does, whether it is exact, and when it runs.

Passes of the stage "export" make the portable graphs of a bundle. Passes of the stage "engine" depend on what runs the
graph: `build-engine` measures them and keeps those that pay. Passes of the stage "tensorrt" change what an engine of
TensorRT takes, or what only TensorRT can run: nothing is there to measure or to compare them with at build time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes import group_norm, group_norm_plugin, packed_input, phase_upsample, winograd

if TYPE_CHECKING:
    from onnx import ModelProto

Exactness = Literal["exact", "approximate"]
Stage = Literal["export", "engine", "tensorrt"]


@dataclass(frozen=True)
class Pass:
    """name: as the command line has it. default: whether it runs when nobody says; engine passes are measured instead.

    apply: of a pass for engines, the function from a graph to the changed copy, equal in structure where nothing fits.
    Two that write one thing differently exclude each other: where one has run, the other finds nothing.
    """

    name: str
    exactness: Exactness
    stage: Stage
    summary: str
    default: bool = True
    apply: Callable[[ModelProto], ModelProto] | None = None


TIME_TABLE = Pass(
    "time-table",
    "exact",
    "export",
    "the time embedding and its projections are a table with a row per step; no network computes them",
)
FOLD = Pass("fold", "exact", "export", "constants are folded and nodes that nothing reads are dropped")
HALF_WEIGHTS = Pass(
    "half-weights",
    "approximate",
    "export",
    "weights are stored as float16 and computed with in float32",
    default=False,
)
MASK_HEAD = Pass(
    "mask-head", "exact", "export", "the mask head is a graph of its own, which runs only where its mask is read"
)
PHASE_UPSAMPLE = Pass(
    "phase-upsample",
    "exact",
    "engine",
    "nearest doubling and a 3x3 convolution are four 2x2 convolutions, one per phase of the output",
    apply=phase_upsample.apply,
)
WINOGRAD = Pass(
    "winograd",
    "exact",
    "engine",
    "3x3 convolutions of many channels take a quarter of the multiplications, by Winograd's F(4x4, 3x3)",
    apply=winograd.apply,
)
TWO_PASS_NORM = Pass(
    "two-pass-group-norm",
    "exact",
    "engine",
    "group normalisation is means, differences and products, which share the work among threads",
    apply=group_norm.two_pass,
)
NATIVE_NORM = Pass(
    "native-group-norm",
    "exact",
    "engine",
    "group normalisation is the GroupNormalization of opset 21",
    apply=group_norm.native,
)
PACKED_INPUT = Pass(
    "packed-input",
    "exact",
    "tensorrt",
    "the denoiser takes image, mask and x_t as one input of seven channels, in the type its first convolution reads",
    apply=packed_input.apply,
)
GROUP_NORM_PLUGIN = Pass(
    "group-norm-plugin",
    "exact",
    "tensorrt",
    "group normalisation, the time's projection and SiLU are plugins with kernels of our own; not run on a GPU yet",
    default=False,
    apply=group_norm_plugin.apply,
)
PASSES = (
    TIME_TABLE,
    MASK_HEAD,
    FOLD,
    HALF_WEIGHTS,
    WINOGRAD,
    PHASE_UPSAMPLE,
    TWO_PASS_NORM,
    NATIVE_NORM,
    PACKED_INPUT,
    GROUP_NORM_PLUGIN,
)


def choose(switched_on: Iterable[str], switched_off: Iterable[str], *stages: Stage) -> dict[str, bool]:
    """{name: forced on or off} for the passes of some stages that the command line names.

    Raises ExportError for a name that is no pass of these stages, or that is switched both ways.
    """
    forced: dict[str, bool] = {}
    known = [item.name for item in PASSES if item.stage in stages]
    for name, on in [(name, True) for name in switched_on] + [(name, False) for name in switched_off]:
        if name not in known:
            raise ExportError(f"there is no pass {name!r} here: choose among {', '.join(known) or 'none'}")
        if forced.get(name, on) != on:
            raise ExportError(f"pass {name} is switched both on and off: choose one")
        forced[name] = on
    return forced
