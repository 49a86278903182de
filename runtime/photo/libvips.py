"""pyvips, mended where text that is not UTF-8 trips it: damaged files put any bytes into the messages of libvips."""

import logging
from functools import cache
from typing import Any


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
    """The last, most specific line of a libvips message."""
    lines = [line.strip() for line in str(getattr(error, "detail", "") or error).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
