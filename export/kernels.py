"""Add compiled GPU kernels to a bundle: one cubin per kernel and GPU generation, listed in the manifest.

The bundle is rebuilt beside itself and exchanged at the end, so a failure leaves it as it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from export.console import Bar, Report, quiet_bar
from export.errors import ExportError

if TYPE_CHECKING:
    from kernels.ahead_of_time import Record
    from runtime.bundle.folder import Manifest
    from runtime.bundle.gpu_kernels import Kernel

FOLDER = "kernels"
"""Where a bundle keeps them."""


def add_kernels(
    target: Path, capabilities: Sequence[int] = (), report: Report = lambda line: None, bar: Bar = quiet_bar
) -> Manifest:
    """Compile the kernels for these compute capabilities (times ten; none = all supported) into a bundle.

    Kernels that the bundle already has are replaced. Returns the new manifest. Raises ExportError for an
    unsupported capability and BundleError for a bundle that does not verify.
    """
    import msgspec

    from export.bundle import folder_beside, put_in_place
    from kernels.ahead_of_time import SUPPORTED, build
    from kernels.errors import KernelError
    from runtime.bundle.folder import MANIFEST, hash_files, write_manifest
    from runtime.bundle.opening import load_bundle

    target = target.resolve()
    manifest = load_bundle(target).manifest
    light = manifest.model.illumination
    if light.added_to_photo != light.epsilon:
        raise ExportError(f"{target} has the authors' degradation form, which the GPU kernels do not compute")
    with folder_beside(target) as folder:
        try:
            with bar("compiling") as progress:
                records = build(folder / FOLDER, capabilities or SUPPORTED, report=report, progress=progress)
        except KernelError as error:
            raise ExportError(str(error)) from error
        old = shutil.ignore_patterns(FOLDER, MANIFEST)
        shutil.copytree(target, folder, dirs_exist_ok=True, ignore=old)
        kernels = [_described(record) for record in records]
        manifest = msgspec.structs.replace(manifest, files=hash_files(folder), kernels=kernels)
        write_manifest(folder, manifest)
        put_in_place(folder, target, force=True)
    return manifest


def _described(record: Record) -> Kernel:
    """A record as the manifest has it."""
    from runtime.bundle.gpu_kernels import Kernel, KernelArgument, KernelBuild

    builds = [
        KernelBuild(build.sm, f"{FOLDER}/{build.file}", build.registers, build.spilled, build.shared)
        for build in record.builds
    ]
    return Kernel(
        name=record.name,
        entry=record.entry,
        arguments=[KernelArgument(*argument) for argument in record.arguments],
        constants=record.constants,
        grid=list(record.grid),
        warps=record.warps,
        source=record.source,
        triton=record.triton,
        builds=builds,
    )
