"""What a manifest says about the GPU kernels of its bundle: machine code and all that launching it needs.

The files are CUDA cubins, `kernels/sm_<capability>/<name>.cubin`. A bundle need not have any.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
NonNegative = Annotated[int, Meta(ge=0)]


class KernelArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of a kernel's parameter list."""

    name: str
    type: str
    """As Triton writes it: "i32", "*fp16" (a pointer), ..."""
    multiple: Positive
    """The value, or the address in bytes, must be a multiple of this."""


class KernelBuild(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The kernel compiled for one GPU generation."""

    sm: Positive
    """Compute capability times ten; 90 and later are compiled for that capability alone."""
    file: str
    """Path of the cubin in the bundle."""
    registers: Positive
    """Per thread."""
    spilled: NonNegative
    """Bytes of local memory per thread."""
    shared: NonNegative
    """Bytes of dynamic shared memory to launch with."""
    cuda: NonNegative = 0
    """Major CUDA release of the assembler: drivers of that release or a later one load the file. 0: not known."""
    driver: NonNegative = 0
    """The first NVIDIA driver of that release, such as 525, for people. 0: not known."""


class Kernel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One specialisation of one kernel."""

    name: str
    entry: str
    """The function's name in the cubin."""
    arguments: list[KernelArgument]
    """In the order of the parameter list."""
    constants: dict[str, bool | int | float]
    """What was fixed when it was compiled."""
    grid: Annotated[list[str], Meta(min_length=3, max_length=3)]
    """Programs along x, y and z, as expressions of arguments and of `images`, the batch size."""
    warps: Positive
    """Of 32 threads each, per program."""
    source: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of the source it was compiled from."""
    triton: str
    """Version of the compiler."""
    builds: list[KernelBuild]

    def build_for(self, sm: int) -> KernelBuild | None:
        """The build that runs on a GPU of this compute capability (times ten), or None.

        Machine code below 9.0 runs on later minor versions of the same major one, the best of which counts.
        """
        running = [
            build
            for build in self.builds
            if build.sm == sm or (build.sm < 90 and build.sm < sm and build.sm // 10 == sm // 10)
        ]
        return max(running, key=lambda build: build.sm, default=None)
