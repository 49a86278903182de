"""Compile every kernel variant to machine code for every supported GPU generation, without a GPU.

    DIRECTORY/sm_80/prior_step_packed_fp16.cubin  ...  sm_120/...

Each file comes with a record of all that a launcher without Triton needs: entry point, arguments in order, grid,
threads and shared memory. Cubins rather than PTX, because a driver older than the compiler refuses its PTX. Of the two
assemblers in the Triton package all machine code comes from `ptxas`, of CUDA 12, since what CUDA 13's assembles needs a
later driver. Line tables are left out, and with them every path, so two builds of the same source with the same Triton
are equal byte by byte. Compute capability 9.0 and later are compiled for their own features (sm_90a, ...), which run on
that capability only.

    python -m shadowdiffusion.kernels.ahead_of_time DIRECTORY [--sm 90 ...]    builds there and prints records as JSON
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from shadowdiffusion.kernels.errors import KernelError
from shadowdiffusion.kernels.variant import Variant

SUPPORTED = (80, 86, 89, 90, 100, 120)
"""Compute capabilities, times ten: A100, RTX 30, RTX 40 and L4, H100, B200, RTX 50."""

PTX_VERSIONS = {80: 80, 86: 80, 87: 80, 89: 80, 90: 80, 100: 86, 101: 86, 103: 88, 120: 87, 121: 88}
"""Version of PTX, times ten, by compute capability: the first that has it ("Release Notes" in "Parallel Thread
Execution ISA"), or that of CUDA 12.0, which every driver of `DRIVERS` reads: Triton 3.8 writes `::cta`, new in 7.8.
"""

DRIVERS = {12: 525, 13: 580}
"""The least NVIDIA driver that loads machine code of a CUDA release, by its major version: Table 1 of "Minor Version
Compatibility" in "CUDA Compatibility". Support for the GPU itself may need a later one, without which it is no GPU to
CUDA at all.
"""

OPERATIONS = ("start_state", "prior_step", "prior_coefficients", "confident_mask", "mask_update")
"""The files that have variants: kernels that `runtime.gpu` launches."""

SCRATCH = (("global_scratch", "*i8", 1), ("profile_scratch", "*i8", 1))
"""What Triton 3.6 appends to every kernel's arguments: two pointers that these kernels never follow; pass null."""


@dataclass(frozen=True)
class Build:
    """One cubin. sm: compute capability times ten. file: POSIX path below the build folder. registers: per thread.

    cuda, driver: the assembler's major CUDA release, and the first NVIDIA driver that loads that. spilled: bytes
    of local memory per thread. shared: bytes of dynamic shared memory per program. wide: "loads" if tensors are read in
    128-bit accesses, "stores" if they are written in those and none by 8 or 16 bits.
    """

    sm: int
    file: str
    cuda: int
    driver: int
    registers: int
    spilled: int
    shared: int
    wide: tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """How to launch one variant. entry: the function's name in its cubins.

    arguments: (name, Triton type, divisor that its value or address must have), in the order of the parameter
    list. constants: what was fixed at compile time. grid: programs along x, y, z as expressions of arguments
    and `images`. warps: of 32 threads each. source: SHA-256 of the kernel and of what it calls.
    """

    name: str
    entry: str
    arguments: tuple[tuple[str, str, int], ...]
    constants: dict[str, Any]
    grid: tuple[str, str, str]
    warps: int
    source: str
    triton: str
    builds: tuple[Build, ...]


def all_variants() -> list[Variant]:
    """The variants of every kernel file, in a fixed order."""
    modules = (import_module(f"{__package__}.{name}") for name in OPERATIONS)
    return [variant for module in modules for variant in module.variants()]


def _sources() -> dict[str, str]:
    """`Record.source` by variant. Triton's digest of a kernel depends on which others it has digested before."""
    return {variant.name: variant.kernel.cache_key for variant in all_variants()}


def build(
    directory: Path,
    capabilities: Sequence[int] = SUPPORTED,
    only: Sequence[str] = (),
    report: Callable[[str], None] = lambda _: None,
    progress: Callable[[float, str], None] = lambda fraction, name: None,
) -> list[Record]:
    """Compile into `directory`, which must not hold other builds, and return a record per variant.

    only: names of variants; all if empty. report: called with a line per capability. progress: called with the
    finished fraction and the name of the variant that is next. Raises KernelError for an unknown capability or
    name, and where Triton only interprets.
    """
    if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
        raise KernelError("TRITON_INTERPRET is set, so Triton compiles nothing: unset it and start again")
    if unknown := sorted(set(capabilities) - set(SUPPORTED)):
        raise KernelError(f"compute capability {unknown[0]} is not supported: use {', '.join(map(str, SUPPORTED))}")
    chosen = [variant for variant in all_variants() if not only or variant.name in only]
    if missing := sorted(set(only) - {variant.name for variant in chosen}):
        raise KernelError(f"there is no kernel variant {missing[0]}")
    entries, sources = dict[str, str](), _sources()
    builds: dict[str, list[Build]] = {variant.name: [] for variant in chosen}
    with _clean_compiler():
        cuda = _assembler()
        for capability in sorted(set(capabilities)):
            (directory / f"sm_{capability}").mkdir(parents=True, exist_ok=True)
            for variant in chosen:
                progress(sum(map(len, builds.values())) / (len(chosen) * len(set(capabilities))), variant.name)
                file = f"sm_{capability}/{variant.name}.cubin"
                compiled = _compile(variant, capability)
                (directory / file).write_bytes(compiled.asm["cubin"])
                registers, spilled = _resource_usage(directory / file)
                entries[variant.name] = compiled.metadata.name
                shared = compiled.metadata.shared
                found = (registers, spilled, shared, _wide_accesses(compiled.asm["ptx"]))
                builds[variant.name].append(Build(capability, file, cuda, DRIVERS[cuda], *found))
            report(f"sm_{capability}: {len(chosen)} kernels")
    return [_record(each, entries[each.name], sources[each.name], tuple(builds[each.name])) for each in chosen]


def ptx(variant: Variant, capability: int) -> tuple[str, str, int]:
    """Entry point, assembly and bytes of shared memory of one variant, for whoever makes machine code of it."""
    with _clean_compiler():
        compiled = _compile(variant, capability)
    return compiled.metadata.name, compiled.asm["ptx"], compiled.metadata.shared


def _compile(variant: Variant, capability: int) -> Any:
    """Triton's compiled kernel."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = variant.kernel.arg_names
    signature = {name: "constexpr" if name in variant.constants else variant.types[name] for name in names}
    attributes = {(names.index(name),): [["tt.divisibility", 16]] for name in variant.aligned}
    constants = {(names.index(name),): value for name, value in variant.constants.items()}
    source = ASTSource(variant.kernel, signature, constants, attributes)
    options = {"num_warps": variant.warps, "enable_fp_fusion": False}  # fusing would round differently
    options |= {"ptx_version": PTX_VERSIONS[capability]} if capability in PTX_VERSIONS else {}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def _record(variant: Variant, entry: str, source: str, builds: tuple[Build, ...]) -> Record:
    import triton

    names = [name for name in variant.kernel.arg_names if name not in variant.constants]
    arguments = [(name, variant.types[name], 16 if name in variant.aligned else 1) for name in names]
    return Record(
        name=variant.name,
        entry=entry,
        arguments=(*arguments, *SCRATCH),
        constants=variant.constants,
        grid=variant.grid,
        warps=variant.warps,
        source=source,
        triton=triton.__version__,
        builds=builds,
    )


@contextmanager
def _clean_compiler() -> Iterator[None]:
    """Triton with an empty cache of its own, one assembler and no line tables, whatever the user's settings."""
    from triton import knobs

    settings = (knobs.cache, knobs.compilation, knobs.nvidia)
    with tempfile.TemporaryDirectory(prefix="kernels-") as cache, ExitStack() as scopes:
        for group in settings:
            scopes.enter_context(group.scope())
        knobs.cache.dir = cache
        knobs.compilation.disable_line_info = True
        knobs.compilation.always_compile = True
        knobs.nvidia.ptxas_blackwell = knobs.nvidia.ptxas.path
        yield


def _assembler() -> int:
    """Major CUDA release of the assembler. Raises KernelError for one whose drivers are not known here."""
    from triton import knobs

    version = knobs.nvidia.ptxas.version
    major = int(version.partition(".")[0])
    if major not in DRIVERS:
        known = " or ".join(map(str, DRIVERS))
        raise KernelError(f"ptxas is of CUDA {version}: name one of CUDA {known} in TRITON_PTXAS_PATH, or unset that")
    return major


def _resource_usage(file: Path) -> tuple[int, int]:
    """Registers and bytes of local memory per thread of a cubin."""
    command = [str(nvidia_tool("cuobjdump")), "--dump-resource-usage", str(file)]
    try:
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except subprocess.CalledProcessError as error:
        raise KernelError(f"cuobjdump cannot read the compiled {file.name}: {error.stderr.strip()}") from error
    found = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", text)}
    return found["REG"], found["STACK"] + found["LOCAL"]


def _wide_accesses(ptx: str) -> tuple[str, ...]:
    """`Build.wide` of a kernel's PTX, whose vector accesses the assembler keeps."""
    widths = {kind: set(re.findall(rf"\b{kind}\.global(?:\.\w+)*?(\.v4)?\.b(\d+)", ptx)) for kind in ("ld", "st")}
    full = (".v4", "32")
    loads, stores = full in widths["ld"], full in widths["st"] and not {("", "8"), ("", "16")} & widths["st"]
    return ("loads",) * loads + ("stores",) * stores


def nvidia_tool(name: str) -> Path:
    """A tool that comes inside the Triton package, such as cuobjdump or nvdisasm."""
    import triton

    return Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name


def main() -> None:
    """Build from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m shadowdiffusion.kernels.ahead_of_time", description=__doc__.splitlines()[0]
    )
    parser.add_argument("directory", type=Path, help="where the cubins go")
    parser.add_argument("--sm", type=int, nargs="+", default=SUPPORTED, help="compute capabilities, times ten")
    parser.add_argument("--only", nargs="+", default=(), help="names of variants  [default: all]")
    arguments = parser.parse_args()
    try:
        records = build(
            arguments.directory, arguments.sm, arguments.only, lambda line: print(line, file=sys.stderr, flush=True)
        )
    except (KernelError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except ImportError as error:
        from shadowdiffusion.runtime.packages import missing_package

        print(f"error: {missing_package(error, 'kernels')}", file=sys.stderr)
        raise SystemExit(2) from None
    print(json.dumps([asdict(record) for record in records], indent=1))


if __name__ == "__main__":
    main()
