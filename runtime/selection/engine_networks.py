"""A stored engine as something that runs, whichever backend compiled it: its networks alone, or the whole loop."""

from collections.abc import Callable

from shadowdiffusion.runtime.bundle.engines import StoredEngine
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.errors import RestoreError
from shadowdiffusion.runtime.gpu.device_networks import DeviceNetworks
from shadowdiffusion.runtime.loop.host_loop import HostLoop
from shadowdiffusion.runtime.loop.loop import Loop
from shadowdiffusion.runtime.loop.networks import Networks

Say = Callable[[str], None]


def open_engine(bundle: Bundle, engine: StoredEngine, threads: int | None) -> Networks:
    """The networks of a stored engine; on the CPU their opening has begun. Raises RestoreError."""
    key = engine.record.key
    if key.backend == "onnxruntime":
        from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks

        networks = OnnxRuntimeNetworks(bundle, key.provider or "cpu", threads, engine)
        if networks.on_host:
            networks.prefetch()
        return networks
    if key.backend == "cpu-kernels":
        from shadowdiffusion.runtime.backends.cpu_networks import CpuNetworks

        ours = CpuNetworks(bundle, threads, engine)
        ours.prefetch()
        return ours
    from shadowdiffusion.runtime.backends.tensorrt_networks import TensorRTNetworks

    return TensorRTNetworks(bundle, engine)


def on_device(bundle: Bundle, engine: StoredEngine | None, threads: int | None = None) -> DeviceNetworks:
    """The same for the loop on the GPU; None: the bundle's own graphs. Raises RestoreError."""
    if engine is None or engine.record.key.backend == "onnxruntime":
        from shadowdiffusion.runtime.backends.onnxruntime_execution import OnnxRuntimeOnDevice

        return OnnxRuntimeOnDevice(bundle, threads, engine)
    from shadowdiffusion.runtime.backends.tensorrt_networks import TensorRTNetworks

    return TensorRTNetworks(bundle, engine)


def open_loop(bundle: Bundle, engine: StoredEngine, device: str, threads: int | None, say: Say) -> Loop:
    """The loop of a stored engine, on the GPU as far as can be; device, say: see `whole_loop`. Raises RestoreError."""
    on_gpu = engine.record.key.provider != "cpu"
    loop = whole_loop(bundle, engine, device, threads, say) if on_gpu else None
    return loop or HostLoop(bundle, open_engine(bundle, engine, threads))


def whole_loop(bundle: Bundle, engine: StoredEngine | None, device: str, threads: int | None, say: Say) -> Loop | None:
    """All of the loop on the GPU, if the bundle has kernels for it that prove right with these networks.

    engine: None for the bundle's own graphs. device: what the machine calls it, to remember the proof by. `say` hears
    why else the steps between the networks are left to the CPU.
    """
    from shadowdiffusion.runtime.gpu.device_loop import DeviceLoop
    from shadowdiffusion.runtime.selection.golden_check import loop_verdict

    try:
        loop = DeviceLoop(bundle, on_device(bundle, engine, threads), say)
        if failure := loop_verdict(bundle, engine, device, say).failure:
            raise RestoreError(failure)
        return loop
    except RestoreError as error:
        say(f"{title(engine)} leaves the steps between its networks to the CPU: {error}")
        return None


def title(engine: StoredEngine | None) -> str:
    """What runs on a GPU, for people."""
    return f"engine {engine.name}" if engine else "ONNX Runtime on CUDA"
