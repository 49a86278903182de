"""What the driver says of a GPU at this moment, through NVML's C interface; whatever it does not say is None."""

from __future__ import annotations

import ctypes
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
    if library is None:
        try:
            library = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            return GpuState()
    if library.nvmlInit_v2() != SUCCESS:
        return GpuState()
    try:
        driver = ctypes.create_string_buffer(96)
        named = library.nvmlSystemGetDriverVersion(driver, ctypes.c_uint(len(driver))) == SUCCESS
        state = GpuState(driver.value.decode() if named else None)
        handle = ctypes.c_void_p()
        if library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)) != SUCCESS:
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
    finally:
        library.nvmlShutdown()
