"""Launches the GPU kernels of a bundle from their records, through the CUDA driver: no compiler is needed.

Not run on a GPU yet: the tests compare the parameters with the tables in the compiled kernels, and give it a driver
made of Python functions.
"""

import ctypes
import struct
from collections.abc import Iterable

from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.bundle.gpu_kernels import Kernel, KernelArgument, KernelBuild
from shadowdiffusion.runtime.errors import BundleError, RestoreError
from shadowdiffusion.runtime.gpu.cuda import Cuda
from shadowdiffusion.runtime.gpu.grid_rule import programs

CODES = {"i32": "i", "i64": "q", "fp32": "f"}
SCRATCH = frozenset({"global_scratch", "profile_scratch"})
"""Pointers that the compiler adds to every kernel, and which these kernels never follow."""
PLAIN_SHARED = 48 * 1024  # bytes of shared memory that every kernel may have without asking
MAX_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


class CudaKernels:
    """The kernels of a bundle on one GPU; each is loaded at its first launch.

    Raises RestoreError if the bundle has none for this GPU, or none that its driver loads.
    """

    def __init__(self, bundle: Bundle, cuda: Cuda) -> None:
        self._bundle, self._cuda = bundle, cuda
        self._builds = dict[str, tuple[Kernel, KernelBuild]]()
        for kernel in bundle.manifest.kernels:
            if build := kernel.build_for(cuda.sm):
                self._builds[kernel.name] = kernel, build
        if not self._builds:
            raise RestoreError(f"the bundle has no kernels for this GPU: {self._advice()}")
        newest = max((build for _, build in self._builds.values()), key=lambda build: build.cuda)
        major, minor = cuda.release
        if newest.cuda > major:
            raise RestoreError(
                f"the bundle's kernels need an NVIDIA driver from {newest.driver} on (CUDA {newest.cuda}), and this "
                f"one is of CUDA {major}.{minor}: upgrade the driver"
            )
        self._loaded = dict[str, _Loaded]()

    def require(self, names: Iterable[str]) -> None:
        """Raise RestoreError unless all these specialisations are there."""
        if missing := sorted(set(names) - self._builds.keys()):
            raise RestoreError(f"the bundle's kernels lack {missing[0]}: {self._advice()}")

    def launch(self, name: str, images: int, /, **arguments: int | float) -> None:
        """Queue one kernel: addresses and numbers by the names of its arguments.

        Raises RestoreError for arguments that the kernel was not compiled for, and BundleError for those that are not
        in its record.
        """
        self.require([name])
        kernel, build = self._builds[name]
        for argument in kernel.arguments:
            if arguments.get(argument.name, 0) % argument.multiple:
                value = f"{argument.name} = {arguments[argument.name]}"
                raise RestoreError(f"kernel {name} takes multiples of {argument.multiple}, not {value}")
        if name not in self._loaded:
            self._loaded[name] = _Loaded(self._bundle, kernel, build, self._cuda)
        self._loaded[name].launch(self._cuda, images, arguments)

    def _advice(self) -> str:
        return f"shadowdiffusion export kernels {self._bundle.path} --sm {self._cuda.sm}"


class _Loaded:
    """One kernel in the GPU."""

    def __init__(self, bundle: Bundle, kernel: Kernel, build: KernelBuild, cuda: Cuda) -> None:
        self._kernel, self._build, self._parameters = kernel, build, layout(kernel.arguments)
        module, self._function = ctypes.c_void_p(), ctypes.c_void_p()
        code = (bundle.path / build.file).read_bytes()
        cuda.call("cuModuleLoadData", ctypes.byref(module), code)  # never unloaded: a graph may hold the kernel
        cuda.call("cuModuleGetFunction", ctypes.byref(self._function), module, kernel.entry.encode())
        if build.shared > PLAIN_SHARED:
            cuda.call("cuFuncSetAttribute", self._function, MAX_SHARED, ctypes.c_int(build.shared))

    def launch(self, cuda: Cuda, images: int, arguments: dict[str, int | float]) -> None:
        names = [argument.name for argument in self._kernel.arguments]
        if set(names) - SCRATCH != arguments.keys():
            takes = f"takes {', '.join(names)}, not {', '.join(arguments)}"
            raise BundleError(f"kernel {self._kernel.name} {takes}: build the bundle's kernels again")
        packed = self._parameters.pack(*(arguments.get(name, 0) for name in names))
        size = ctypes.c_size_t(len(packed))
        # CU_LAUNCH_PARAM_BUFFER_POINTER, CU_LAUNCH_PARAM_BUFFER_SIZE, CU_LAUNCH_PARAM_END; copied by the call
        extra = (ctypes.c_void_p * 5)(1, _address(packed), 2, ctypes.addressof(size), 0)
        values = {name: value for name, value in arguments.items() if isinstance(value, int)} | {"images": images}
        grid = [ctypes.c_uint(programs(rule, values)) for rule in self._kernel.grid]
        block = [ctypes.c_uint(32 * self._kernel.warps), ctypes.c_uint(1), ctypes.c_uint(1)]
        shared, stream = ctypes.c_uint(self._build.shared), ctypes.c_void_p(cuda.stream)
        cuda.call("cuLaunchKernel", self._function, *grid, *block, shared, stream, None, extra)


def layout(arguments: Iterable[KernelArgument]) -> struct.Struct:
    """The parameter list of a kernel, each entry aligned to its size. Raises BundleError for an unknown type."""
    codes = ["P" if argument.type.startswith("*") else CODES.get(argument.type) for argument in arguments]
    if None in codes:
        types = ", ".join(sorted({argument.type for argument in arguments}))
        raise BundleError(f"a kernel of the bundle takes types unknown here ({types}): upgrade shadowdiffusion")
    return struct.Struct("@" + "".join(filter(None, codes)))


def _address(data: bytes) -> int:
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
