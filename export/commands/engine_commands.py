"""The command build-engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from shadowdiffusion.export.commands.bundle_commands import Bundle
from shadowdiffusion.export.commands.console import one_line_errors, reporter, terminal_bar
from shadowdiffusion.export.sms import sm_list
from shadowdiffusion.runtime.bundle.engines import BackendName, Precision, Provider

Backend = Annotated[
    BackendName,
    typer.Option(
        help="TensorRT (needs the GPU it builds for), TensorRT for RTX (needs none), our CPU kernels, or ONNX Runtime.",
        show_default=False,
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(help="Of convolutions and products, where the accuracy gate lets it be; statistics stay in float32."),
]
Profile = Annotated[
    str | None,
    typer.Option(
        help="Image sizes: HxW, or min:opt:max such as 128x128:256x256:512x512.  [default: up to the working size]",
        metavar="SIZES",
        show_default=False,
    ),
]
Batch = Annotated[str, typer.Option(help="Images at once: N, or min:opt:max.", metavar="SIZES")]
Sm = Annotated[
    list[str] | None,
    typer.Option(
        help="Compute capabilities to build for without a GPU, such as 89 120 (for 8.9 and 12.0).  "
        "[default: that of this machine's GPU, or any]",
        metavar="SM...",
        show_default=False,
    ),
]
Level = Annotated[int, typer.Option(help="How hard the builder tries.", min=0, max=5)]
Workspace = Annotated[
    int | None,
    typer.Option(
        help="Scratch memory that layers may take, MiB.  [default: no limit]", min=1, metavar="MIB", show_default=False
    ),
]
StripWeights = Annotated[
    bool, typer.Option("--strip-weights", help="Leave the weights out; they come from the bundle at load time.")
]
VersionCompatible = Annotated[
    bool, typer.Option("--version-compatible", help="For later versions of the backend too; may be slower.")
]
HardwareCompatible = Annotated[
    bool, typer.Option("--hardware-compatible", help="For every GPU since Ampere; may be slower.")
]
GateOption = Annotated[
    float | None,
    typer.Option(
        help="PSNR against float32 that the restored image must keep, dB.  [default: by precision, 40 to 50]",
        min=0.0,
        metavar="DB",
        show_default=False,
    ),
]
Photos = Annotated[
    list[Path] | None,
    typer.Option(
        "--photo",
        help="Photo to calibrate and to measure accuracy with; may be repeated.  [default: the example photo]",
        metavar="PATH",
        show_default=False,
    ),
]
With = Annotated[
    list[str] | None,
    typer.Option("--with", help="Graph pass to run, measured or not; may be repeated.", metavar="PASS"),
]
Without = Annotated[
    list[str] | None, typer.Option("--without", help="Graph pass to leave out; may be repeated.", metavar="PASS")
]
Threads = Annotated[
    int | None, typer.Option(help="CPU threads.  [default: the fastest]", min=1, metavar="N", show_default=False)
]
ProviderOption = Annotated[
    Provider | None,
    typer.Option(help="What ONNX Runtime runs on.  [default: CUDA where there is a GPU]", show_default=False),
]
Force = Annotated[bool, typer.Option("--force", help="Build even if there is an engine that fits.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

EXAMPLE = """Example, which needs no GPU:

  shadowdiffusion export build-engine mine --backend tensorrt-rtx --sm 86 89
"""


def build_engine(
    bundle: Bundle,
    backend: Backend,
    precision: PrecisionOption = "fp32",
    profile: Profile = None,
    batch: Batch = "1:1:4",
    sm: Sm = None,
    optimization_level: Level = 3,
    workspace: Workspace = None,
    strip_weights: StripWeights = False,
    version_compatible: VersionCompatible = False,
    hardware_compatible: HardwareCompatible = False,
    gate: GateOption = None,
    photo: Photos = None,
    with_: With = None,
    without: Without = None,
    threads: Threads = None,
    provider: ProviderOption = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compile the networks of a bundle for a device, and store the engine with it.

    An engine that fits is used again; otherwise the command says why it builds. Engines of TensorRT have not been run
    on a GPU yet: the runtime checks each against the bundle's example before its first use.
    """
    report = reporter()
    with one_line_errors("engines"):
        from shadowdiffusion.export.engines.build import build_engines
        from shadowdiffusion.export.engines.key import EngineOptions
        from shadowdiffusion.export.passes.catalog import choose

        options = EngineOptions(
            backend=backend,
            precision=precision,
            profile=profile,
            batch=batch,
            sm=sm_list(sm or []),
            optimization_level=optimization_level,
            workspace=workspace,
            force=force,
            strip_weights=strip_weights,
            version_compatible=version_compatible,
            hardware_compatible=hardware_compatible,
            gate=gate,
            photos=tuple(photo or ()),
            passes=choose(with_ or (), without or (), "engine", "tensorrt"),
            threads=threads,
            provider=provider,
        )
        outcome = build_engines(bundle, options, report, terminal_bar)
    engine, record = outcome.engine, outcome.engine.record
    if as_json:
        import msgspec

        result = {"bundle": str(bundle), "engine": engine.name, "path": str(engine.path), "built": outcome.built}
        print(json.dumps(result | msgspec.to_builtins(record)))
        return
    print(f"{engine.path}: {'built' if outcome.built else 'stored'}, {record.status}")
    for name, network in record.networks.items():
        print(f"  {name:16} {record.files[network.file].size / 1e6:8.1f} MB, built in {network.seconds:.1f} s")
    for name, milliseconds in record.latency_ms.items():
        print(f"  {name:16} {milliseconds:8.1f} ms")
    if record.gate:
        print(f"  {'accuracy':16} {record.gate.psnr:8.1f} dB against float32, {record.gate.least:g} dB are needed")
        for output, decibel in record.gate.outputs.items():
            print(f"  {output:16} {decibel:8.1f} dB at the worst step")
    for name, kept in record.kept_in_fp32.items():
        print(f"  {'kept in float32':16} {name}: {', '.join(kept)}")
    for note in record.notes:
        print(f"  {note.exactness:16} {note.name}: {note.detail}")
