"""Add compiled GPU kernels to a bundle: one cubin per kernel and GPU generation, listed in the manifest.

The bundle is rebuilt beside itself and exchanged at the end, so a failure leaves it as it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shadowdiffusion.export.commands.console import Bar, Report, quiet_bar
from shadowdiffusion.export.engines.lock import writing
from shadowdiffusion.export.errors import ExportError

if TYPE_CHECKING:
    from shadowdiffusion.kernels.ahead_of_time import Record
    from shadowdiffusion.runtime.bundle.folder import Manifest
    from shadowdiffusion.runtime.bundle.gpu_kernels import Kernel

FOLDER = "kernels"
"""Where a bundle keeps them."""


def add_kernels(
    target: Path, capabilities: Sequence[int] = (), report: Report = lambda line: None, bar: Bar = quiet_bar
) -> Manifest:
    """Compile the kernels that a bundle needs for these compute capabilities (times ten; none = all supported).

    Those that it has for other capabilities stay; they are compiled again if the new ones are of another version.
    Returns the new manifest. Raises ExportError for an unsupported capability, a packed bundle or a disk that cannot
    be written, and BundleError for a bundle that does not verify.
    """
    target = target.resolve()
    with writing(target, report):
        return _add(target, capabilities, report, bar)


def _add(target: Path, capabilities: Sequence[int], report: Report, bar: Bar) -> Manifest:
    import msgspec

    from shadowdiffusion.export.bundle import folder_beside, put_in_place
    from shadowdiffusion.kernels.ahead_of_time import SUPPORTED, build
    from shadowdiffusion.kernels.errors import KernelError
    from shadowdiffusion.runtime.bundle.folder import MANIFEST, hash_files, write_manifest
    from shadowdiffusion.runtime.bundle.opening import load_bundle
    from shadowdiffusion.runtime.gpu.program import needed_kernels

    manifest = load_bundle(target).manifest
    light = manifest.model.illumination
    if light.added_to_photo != light.epsilon:
        raise ExportError(f"{target} has the authors' degradation form, which the GPU kernels do not compute")
    names, asked = sorted(needed_kernels(manifest.sampling)), sorted(set(capabilities or SUPPORTED))
    had = {build.sm for kernel in manifest.kernels for build in kernel.builds}
    with folder_beside(target) as folder:

        def compiled(sms: Sequence[int]) -> list[Kernel]:
            with bar("compiling") as progress:
                return [_described(record) for record in build(folder / FOLDER, sms, names, report, progress)]

        try:
            kernels = compiled(asked)
            others = {kernel.name: kernel for kernel in manifest.kernels}
            stay = sorted(had - {*asked})
            if not all(_same(kernel, others.get(kernel.name), stay) for kernel in kernels):
                report(f"the bundle's kernels for SM {', '.join(map(str, stay))} are of another version")
                stay = [sm for sm in stay if sm in SUPPORTED]
                others = {kernel.name: kernel for kernel in compiled(stay)} if stay else {}
        except KernelError as error:
            raise ExportError(str(error)) from error
        shutil.copytree(target, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(FOLDER, MANIFEST))
        for index, kernel in enumerate(kernels):
            kept = [build for sm in stay for build in others[kernel.name].builds if build.sm == sm]
            for file in (build.file for build in kept if not (folder / build.file).exists()):
                (folder / file).parent.mkdir(exist_ok=True)
                shutil.copy2(target / file, folder / file)
            builds = sorted([*kernel.builds, *kept], key=lambda build: build.sm)
            kernels[index] = msgspec.structs.replace(kernel, builds=builds)
        manifest = msgspec.structs.replace(manifest, files=hash_files(folder), kernels=kernels)
        write_manifest(folder, manifest)
        put_in_place(folder, target, force=True)
    return manifest


def _same(kernel: Kernel, other: Kernel | None, sms: Sequence[int]) -> bool:
    """Whether builds of `other` for `sms` can stand beside those of `kernel`, in one record."""
    import msgspec

    if not sms:
        return True
    if other is None or not {*sms} <= {build.sm for build in other.builds}:
        return False
    return msgspec.structs.replace(other, builds=[]) == msgspec.structs.replace(kernel, builds=[])


def _described(record: Record) -> Kernel:
    """A record as the manifest has it."""
    from shadowdiffusion.runtime.bundle.gpu_kernels import Kernel, KernelArgument, KernelBuild

    builds = [
        KernelBuild(
            sm=build.sm,
            file=f"{FOLDER}/{build.file}",
            registers=build.registers,
            spilled=build.spilled,
            shared=build.shared,
            cuda=build.cuda,
            driver=build.driver,
        )
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
