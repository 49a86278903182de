"""The networks of a bundle as engines of TensorRT, or of TensorRT for RTX, on the GPU.

Not run on a GPU yet: the tests give it a CUDA driver and a TensorRT made in Python. The golden check of
`runtime.selection.selection` comes before the first photo on every machine.
"""

import importlib
import threading
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.backends.runtime_cache import RuntimeCache
from shadowdiffusion.runtime.backends.tensorrt_execution import TensorRTExecution
from shadowdiffusion.runtime.bundle.engines import StoredEngine
from shadowdiffusion.runtime.bundle.folder import DENOISER, MASK_HEAD, Bundle
from shadowdiffusion.runtime.bundle.time_table import read_rows
from shadowdiffusion.runtime.errors import BundleError, OutOfMemoryError, RestoreError
from shadowdiffusion.runtime.gpu.cuda import ADVICE, Buffer, Cuda
from shadowdiffusion.runtime.gpu.device_networks import Bound, Tensors
from shadowdiffusion.runtime.gpu.tensor_types import encoded
from shadowdiffusion.runtime.loop.networks import PACKED_INPUT, GraphNetworks, check_finite
from shadowdiffusion.runtime.packages import install_command
from shadowdiffusion.runtime.selection.fit import MODULES
from shadowdiffusion.runtime.selection.profile import batch_sizes, image_sizes

Array = npt.NDArray[np.float32]

STRIPPED = "strip-weights"
IMAGES = ("image", PACKED_INPUT)
"""Inputs that have the size of the images, of which a network has one."""


class TensorRTNetworks(GraphNetworks):
    """The networks of one engine, as `runtime.gpu.device_networks.DeviceNetworks`. Each is loaded when first needed.

    Calls may come from any thread; they take turns. Raises RestoreError if TensorRT is missing or there is no GPU.
    """

    def __init__(self, bundle: Bundle, engine: StoredEngine) -> None:
        key = engine.record.key
        try:
            self._trt = importlib.import_module(MODULES[key.backend])
        except (ImportError, OSError) as error:
            raise RestoreError(f"engine {engine.name} needs {key.backend}: {install_command(key.backend)}") from error
        self.title, self.used = f"engine {engine.name}", engine.used
        self.batch = batch_sizes(key)[2]
        low, _, high = image_sizes(key)
        self.sizes = low, high
        self._bundle, self._engine = bundle, engine
        denoiser = engine.record.networks.get(DENOISER)
        packed = denoiser is not None and PACKED_INPUT in denoiser.tensors
        super().__init__(read_rows(bundle), MASK_HEAD in bundle.manifest.files, packed)
        self.cuda = Cuda()
        self.lock = threading.Lock()
        """For whoever uses the GPU's stream or `network`."""
        self._logger = _logger(self._trt)
        self._networks: dict[str, EngineNetwork] = {}

    def run(self, name: str, inputs: dict[str, Array], wanted: list[str]) -> list[Array]:
        """Outputs of one engine. Raises RestoreError."""
        with self.lock, self.cuda.current():
            try:
                outputs = self.network(name).run(inputs, wanted)
            except BaseException:
                self.cuda.settle()  # arrays that are going up must live until then
                raise
        check_finite(name, outputs)
        return [outputs[key] for key in wanted]

    def network(self, name: str) -> "EngineNetwork":
        """One of the networks, opened when first asked for. Raises RestoreError."""
        if name not in self._networks:
            self._networks[name] = self._open(name)
        return self._networks[name]

    def tensors(self, name: str) -> Tensors:
        """Inputs and outputs of one of the networks, which need not be open. Raises BundleError."""
        if name not in self._engine.record.networks:
            raise BundleError(f"{self.title} has no {name}: build it again")
        return self._engine.record.networks[name].tensors

    def check_size(self, name: str, count: int, height: int, width: int) -> None:
        """Raise RestoreError unless the profile covers so many images of this size, in pixels."""
        self.network(name).check_size(count, height, width)

    def execution(self, name: str, inputs: Bound, outputs: Bound) -> TensorRTExecution:
        """As `runtime.gpu.device_networks.DeviceNetworks`."""
        return TensorRTExecution(self.network(name), self.cuda, inputs, outputs)

    def _open(self, name: str) -> "EngineNetwork":
        trt, engine, tensors = self._trt, self._engine, self.tensors(name)
        record = engine.record.networks[name]
        runtime = trt.Runtime(self._logger)
        if "version-compatible" in engine.record.key.flags:
            runtime.engine_host_code_allowed = True  # such engines carry code; what they are is checked by SHA-256
        opened = runtime.deserialize_cuda_engine((engine.path / record.file).read_bytes())
        if opened is None:
            raise RestoreError(f"{record.file} of engine {engine.name} cannot be loaded: {self._logger.last()}")
        if STRIPPED in engine.record.key.flags:
            self._refit(name, opened)
        title, multiple = f"{name} of engine {engine.name}", self._bundle.manifest.model.multiple
        cache = RuntimeCache(engine.record.files[record.file].sha256)
        return EngineNetwork(title, tensors, multiple, opened, self.cuda, self._logger, trt, cache)

    def _refit(self, name: str, opened: Any) -> None:
        """Give a stripped engine its weights: from a graph in its folder, else from the portable one."""
        own = self._engine.path / name
        refitter = self._trt.Refitter(opened, self._logger)
        parser = self._trt.OnnxParserRefitter(refitter, self._logger)
        found = parser.refit_from_file(str(own if own.is_file() else self._bundle.path / name))
        if not found or not refitter.refit_cuda_engine():
            reason = str(parser.get_error(0)) if parser.num_errors else self._logger.last()
            raise RestoreError(f"{name} of engine {self._engine.name} cannot take its weights: {reason}")


class EngineNetwork:
    """One loaded engine. By itself it runs on host arrays, with an execution context and device memory for that."""

    def __init__(
        self,
        title: str,
        tensors: Tensors,
        multiple: int,
        engine: Any,
        cuda: Cuda,
        logger: Any,
        trt: Any,
        cache: RuntimeCache,
    ) -> None:
        self.title, self.tensors, self.logger = title, tensors, logger
        self._cache = cache
        self._compiles = hasattr(trt, "DynamicShapesKernelSpecializationStrategy")
        self._multiple, self._engine, self._cuda, self._trt = multiple, engine, cuda, trt
        self._context: Any = None
        self._buffers: dict[str, Buffer] = {}
        self._seen = set[tuple[tuple[str, tuple[int, ...]], ...]]()

    def new_context(self) -> Any:
        """An execution context, to which whoever asks gives memory: for the images at hand, not the largest of the
        profile. Raises OutOfMemoryError if there is none for the context itself.
        """
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if kernels := getattr(self._trt, "DynamicShapesKernelSpecializationStrategy", None):
            # TensorRT for RTX would change over to better kernels while it runs, which round differently
            config = self._engine.create_runtime_config()
            config.dynamic_shapes_kernel_specialization_strategy = kernels.EAGER
            config.set_execution_context_allocation_strategy(strategy)
            self._cache.attach(config)
            context = self._engine.create_execution_context(config)
        else:
            context = self._engine.create_execution_context(strategy)
        if context is None:
            raise OutOfMemoryError(f"{self.title} cannot start ({self.logger.last()}): {ADVICE}")
        return context

    def memory_size(self, context: Any) -> int:
        """Bytes that a context needs inside for its present shapes. Raises RestoreError if TensorRT cannot tell."""
        size = int(context.update_device_memory_size_for_shapes())
        if size == 0:
            shapes = {name: tuple(context.get_tensor_shape(name)) for name in self.tensors}
            text = f"{self.title} cannot be set up for {shapes}: {self.logger.last()}"
            raise RestoreError(f"{text}; build the engine again, or use --backend portable")
        return size

    def keep_kernels(self) -> None:
        """After a first run of some shape: keep the kernels that it was compiled to, which takes a GPU seconds."""
        if self._compiles:
            self._cache.keep()

    def run(self, inputs: dict[str, Array], wanted: list[str]) -> dict[str, Array]:
        """The outputs `wanted`, as float32 arrays. Raises RestoreError for a size outside the profile."""
        taken = {name for name, tensor in self.tensors.items() if tensor["kind"] == "input"}
        if taken != inputs.keys():
            raise BundleError(f"{self.title} takes {sorted(taken)}, not {sorted(inputs)}: build it again")
        image = next((name for name in IMAGES if name in inputs), None)
        if image is not None:  # the mask head reads what the denoiser gave, at a size that was checked there
            count, _, height, width = inputs[image].shape
            self.check_size(count, height, width)
        if self._context is None:
            self._context = self.new_context()
        kept = {name: encoded(array, self.tensors[name]["dtype"]) for name, array in inputs.items()}
        for name, array in kept.items():
            if not self._context.set_input_shape(name, array.shape):
                raise RestoreError(f"{self.title} refuses {name} of shape {array.shape}: {self.logger.last()}")
            self._cuda.upload(self._bind(name, array.nbytes), array)
        outputs = {}
        for name in self.tensors.keys() - kept.keys():  # all need memory, wanted or not
            outputs[name] = np.empty(tuple(self._context.get_tensor_shape(name)), np.float32)
            self._bind(name, outputs[name].nbytes)
        inner = self._grown("", self.memory_size(self._context))
        self._context.set_device_memory(inner.address, inner.size)
        if not self._context.execute_async_v3(self._cuda.stream):
            raise RestoreError(f"{self.title} did not start: {self.logger.last()}; {ADVICE}")
        for name in wanted:
            self._cuda.download(outputs[name], self._buffers[name].address)
        self._cuda.synchronize()
        shapes = tuple(sorted((name, array.shape) for name, array in kept.items()))
        if shapes not in self._seen:
            self._seen.add(shapes)
            self.keep_kernels()
        return {name: outputs[name] for name in wanted}

    def _bind(self, name: str, size: int) -> int:
        """The address of a tensor's memory."""
        address = self._grown(name, size).address
        if not self._context.set_tensor_address(name, address):
            raise RestoreError(f"{self.title} refuses memory for {name}: {self.logger.last()}")
        return address

    def _grown(self, name: str, size: int) -> Buffer:
        """The memory of a tensor, or of all that is inside the network (""), which grows when it must."""
        if name not in self._buffers or self._buffers[name].size < size:
            self._buffers.pop(name, None)  # freed before its successor is asked for
            self._buffers[name] = self._cuda.allocate(size)
        return self._buffers[name]

    def check_size(self, count: int, height: int, width: int) -> None:
        """Raise RestoreError unless the profile covers so many images of this size, in pixels."""
        tensor = next(self.tensors[name] for name in IMAGES if name in self.tensors)
        low, high = tensor["min"], tensor["max"]
        if not low[0] <= count <= high[0]:
            raise RestoreError(f"{self.title} takes {low[0]} to {high[0]} images at once, not {count}")
        if low[2] <= height <= high[2] and low[3] <= width <= high[3]:
            return
        ranges = f"{low[2]}x{low[3]} to {high[2]}x{high[3]}"
        side = fitting_side((height, width), (low[2], low[3]), (high[2], high[3]), self._multiple)
        advice = f"build an engine with --profile {height}x{width}"
        if side:
            advice = f"use a working size of at most {side}, or {advice}"
        raise RestoreError(f"{self.title} takes images of {ranges} pixels (HxW), not {height}x{width}: {advice}")


def fitting_side(size: tuple[int, int], low: tuple[int, int], high: tuple[int, int], multiple: int) -> int | None:
    """The largest working size (long side, pixels) at which a photo whose working image was `size` fits a profile.

    `size` is (height, width) after padding to the `multiple`; a photo is never enlarged, so one that is too small for
    the profile has none.
    """
    long, short = max(size), min(size)
    for side in range(min(long - multiple, max(high)) // multiple * multiple, 0, -multiple):
        # padding hides up to multiple - 1 pixels of either length: the shrunk short side is somewhere in between
        least = (short - multiple + 1) * side / long
        most = min(side, short * side / (long - multiple + 1))
        for other in (least, most):
            padded = -int(-other // multiple) * multiple
            fitted = (side, padded) if size[0] == long else (padded, side)
            if not all(a <= b <= c for a, b, c in zip(low, fitted, high, strict=True)):
                break
        else:
            return side
    return None


def _logger(trt: Any) -> Any:
    """Keeps the last errors that TensorRT reports, for messages."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors = deque[str](maxlen=4)

        def log(self, severity: Any, message: str) -> None:
            if severity.name in ("ERROR", "INTERNAL_ERROR"):
                self.errors.append(" ".join(message.split()))

        def last(self) -> str:
            return self.errors[-1] if self.errors else "it gave no reason"

    return Logger()
