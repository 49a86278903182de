"""pyvips, mended where text that is not UTF-8 trips it: damaged files put any bytes into the messages of libvips."""

import logging
from functools import cache
from typing import Any

_SYSTEM = "system error: "


@cache
def load_pyvips() -> Any:
    """The module pyvips, whose log of warnings takes any bytes. As it comes, a traceback lands on stderr."""
    import pyvips

    def log(domain: Any, level: int, message: Any, data: Any) -> None:
        logging.getLogger("pyvips").warning(pyvips.ffi.string(message).decode(errors="replace"))

    if pyvips.API_mode:  # what the binary wheel of pyvips is built for
        pyvips.ffi.def_extern("_log_handler_callback")(log)
    return pyvips


def reason(error: Exception) -> str:
    """The line of a libvips message that says most: what the system said, such as of a full disk, or else the last.

    libvips has one place for the messages of all threads: one that fails at the same moment may have taken this one.
    What pyvips says by itself, such as "unable to write to memory", is then no reason either.
    """
    lines = [line.strip() for line in str(getattr(error, "detail", error)).splitlines() if line.strip()]
    system = [line.removeprefix(_SYSTEM) for line in lines if line.startswith(_SYSTEM) and "Unknown" not in line]
    return (system or lines[-1:] or ["no reason given"])[0]
