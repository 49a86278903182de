"""Ctrl-C: photos in hand are dropped or finished, and the rest is left for another time; a second one ends at once."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from shadowdiffusion.runtime.unfinished import remove_all

SHOW_CURSOR = b"\x1b[?25h"
"""To a terminal on which a bar has hidden it."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Stopped(Exception):
    """The user does not want to wait for the result."""


class Stop:
    """Whether to stop, and why."""

    def __init__(self) -> None:
        self._asked = False  # no lock, which a signal handler could find taken
        self.signal: int | None = None
        """The signal that asked for it, if one did."""

    def now(self, number: int | None = None) -> None:
        """Ask everybody to stop."""
        self.signal = number
        self._asked = True

    def __bool__(self) -> bool:
        return self._asked

    def check(self) -> None:
        """Raise Stopped if it is time."""
        if self:
            raise Stopped


@contextmanager
def stopped_by_signals(stop: Stop) -> Iterator[None]:
    """SIGINT, SIGTERM or SIGHUP ask `stop`; a second one, or SIGQUIT, ends the process at once, with nothing left."""

    def handle(number: int, frame: FrameType | None) -> None:
        if stop or number == signal.SIGQUIT:
            remove_all()
            with suppress(OSError):
                if os.isatty(2):
                    os.write(2, SHOW_CURSOR)
            os._exit(128 + number)
        stop.now(number)

    heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # nohup stays in force
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
