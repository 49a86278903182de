"""pyvips, mended where text that is not UTF-8 trips it: damaged files put any bytes into the messages of libvips."""

import logging
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

from shadowdiffusion.runtime.forking import abandon, survive_forks

_SYSTEM = "system error: "
_WHEEL = "pyvips_binary.libs"
"""Folder of the libvips that pip installs, which has all libraries that it needs within itself."""


@cache
def load_pyvips() -> Any:
    """The module pyvips, whose log of warnings takes any bytes. As it comes, a traceback lands on stderr."""
    import pyvips

    def log(domain: Any, level: int, message: Any, data: Any) -> None:
        logging.getLogger("pyvips").warning(pyvips.ffi.string(message).decode(errors="replace"))

    if pyvips.API_mode:  # what the binary wheel of pyvips is built for
        pyvips.ffi.def_extern("_log_handler_callback")(log)
    return pyvips


class _Copies:
    """A new libvips in a forked process whose old one was in use: that would wait for ever for threads of the other.

    libvips cannot begin anew, but a second copy of its file is another library, with threads, locks and types of its
    own; pyvips is imported again to use it. Only the libvips of the wheel can be copied so: that of a system shares
    GLib with whatever else is in the process.
    """

    def __init__(self) -> None:
        self._file: Path | None = None
        self._copy: int | None = None
        self._dlopen: Any = None

    def before_fork(self) -> None:
        """Find out where libvips is."""
        if self._file is None and "pyvips" in sys.modules and hasattr(os, "memfd_create"):
            lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
            self._file = next((Path(line.split(maxsplit=5)[5]) for line in lines if f"{_WHEEL}/libvips" in line), None)

    def after_fork(self, child: bool) -> None:
        """In the new process have pyvips imported again when it is needed."""
        if not child or self._file is None or "pyvips" not in sys.modules:
            return
        import cffi

        abandon([sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in ("pyvips", "_libvips")])
        load_pyvips.cache_clear()
        sys.modules["_libvips"] = None  # type: ignore[assignment]  # pyvips then has cffi open the library
        self._copy = None
        if self._dlopen is None:
            self._dlopen, cffi.FFI.dlopen = cffi.FFI.dlopen, lambda ffi, name, flags=0: self._open(ffi, name, flags)

    def _open(self, ffi: Any, name: Any, flags: int) -> Any:
        if self._file is not None and str(name).startswith("libvips"):
            if self._copy is None:
                self._copy = os.memfd_create("libvips")
                with open(self._copy, "wb", closefd=False) as copy:
                    copy.write(self._file.read_bytes())
            name = f"/proc/self/fd/{self._copy}"
        return self._dlopen(ffi, name, flags)


_copies = _Copies()
survive_forks(_copies)


def reason(error: Exception) -> str:
    """The line of a libvips message that says most: what the system said, such as of a full disk, or else the last.

    libvips has one place for the messages of all threads: one that fails at the same moment may have taken this one.
    What pyvips says by itself, such as "unable to write to memory", is then no reason either.
    """
    lines = [line.strip() for line in str(getattr(error, "detail", error)).splitlines() if line.strip()]
    system = [line.removeprefix(_SYSTEM) for line in lines if line.startswith(_SYSTEM) and "Unknown" not in line]
    return (system or lines[-1:] or ["no reason given"])[0]
