"""A stored engine as something that runs, whichever backend compiled it: its networks alone, or the whole loop."""

from collections.abc import Callable

from runtime.bundle import Bundle
from runtime.engines import StoredEngine
from runtime.errors import RestoreError
from runtime.host_loop import HostLoop
from runtime.loop import Loop
from runtime.networks import Networks


def open_engine(bundle: Bundle, engine: StoredEngine, threads: int | None) -> Networks:
    """The networks of a stored engine. Raises RestoreError."""
    key = engine.record.key
    if key.backend == "onnxruntime":
        from runtime.onnxruntime_networks import OnnxRuntimeNetworks

        return OnnxRuntimeNetworks(bundle, key.provider or "cpu", threads, engine)
    from runtime.tensorrt_networks import TensorRTNetworks

    return TensorRTNetworks(bundle, engine)


def open_loop(
    bundle: Bundle, engine: StoredEngine, device: str, threads: int | None, say: Callable[[str], None]
) -> Loop:
    """The loop of a stored engine: all of it on the GPU where TensorRT runs the networks and the kernels prove right.

    device: what the machine calls it, to remember the proof by. `say` hears why else the steps between the networks
    run on the CPU. Raises RestoreError.
    """
    if engine.record.key.backend == "onnxruntime":
        return HostLoop(bundle, open_engine(bundle, engine, threads))
    from runtime.device_loop import DeviceLoop
    from runtime.golden_check import loop_verdict
    from runtime.tensorrt_networks import TensorRTNetworks

    networks = TensorRTNetworks(bundle, engine)
    try:
        loop = DeviceLoop(bundle, networks, say)
        if failure := loop_verdict(bundle, engine, device, say).failure:
            raise RestoreError(failure)
        return loop
    except RestoreError as error:
        say(f"{networks.title} leaves the steps between its networks to the CPU: {error}")
        return HostLoop(bundle, networks)
