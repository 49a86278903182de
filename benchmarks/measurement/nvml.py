"""What the driver says of a GPU at this moment, through NVML's C interface; whatever it does not say is None."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

SUCCESS, TEMPERATURE, SM_CLOCK, MEMORY_CLOCK = 0, 0, 1, 2


class GpuState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Clocks in MHz, temperature in degrees Celsius, power in W."""

    driver: str | None = None
    sm_clock: int | None = None
    most_sm_clock: int | None = None
    memory_clock: int | None = None
    temperature: int | None = None
    power: float | None = None
    power_limit: float | None = None


def gpu_state(uuid: str, library: Any = None) -> GpuState:
    """The state of the GPU with this UUID, "GPU-...". library: NVML, None = the one installed, if any."""
    with _opened(uuid, library) as (library, handle):
        if library is None:
            return GpuState()
        driver = ctypes.create_string_buffer(96)
        named = library.nvmlSystemGetDriverVersion(driver, ctypes.c_uint(len(driver))) == SUCCESS
        state = GpuState(driver.value.decode() if named else None)
        if handle is None:
            return state

        def number(function: str, *selector: int) -> int | None:
            value = ctypes.c_uint()
            arguments = (handle, *(ctypes.c_int(choice) for choice in selector), ctypes.byref(value))
            return value.value if getattr(library, function)(*arguments) == SUCCESS else None

        def watts(function: str) -> float | None:
            milliwatts = number(function)
            return None if milliwatts is None else milliwatts / 1000

        return msgspec.structs.replace(
            state,
            sm_clock=number("nvmlDeviceGetClockInfo", SM_CLOCK),
            most_sm_clock=number("nvmlDeviceGetMaxClockInfo", SM_CLOCK),
            memory_clock=number("nvmlDeviceGetClockInfo", MEMORY_CLOCK),
            temperature=number("nvmlDeviceGetTemperature", TEMPERATURE),
            power=watts("nvmlDeviceGetPowerUsage"),
            power_limit=watts("nvmlDeviceGetEnforcedPowerLimit"),
        )


def total_energy(uuid: str, library: Any = None) -> float | None:
    """Joules that the GPU with this UUID has taken since its driver was loaded; None where it does not count them."""
    with _opened(uuid, library) as (library, handle):
        if handle is None:
            return None
        millijoules = ctypes.c_ulonglong()
        done = library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules)) == SUCCESS
        return millijoules.value / 1000 if done else None


@contextmanager
def _opened(uuid: str, library: Any) -> Iterator[tuple[Any, ctypes.c_void_p | None]]:
    """NVML, None if it does not work, and its handle of the GPU, None if it knows no such GPU."""
    if library is None:
        try:
            library = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            yield None, None
            return
    if library.nvmlInit_v2() != SUCCESS:
        yield None, None
        return
    try:
        handle = ctypes.c_void_p()
        known = library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)) == SUCCESS
        yield library, handle if known else None
    finally:
        library.nvmlShutdown()
