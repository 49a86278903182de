"""Work in a thread of its own: a stop (Ctrl-C, SIGTERM) is raised while waiting for it, not in the midst of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def in_background(work: Callable[[], T], cancel: Callable[[], None] | None = None) -> T:
    """Give what `work` gives, and raise what it raises.

    Python runs signal handlers in the main thread, wherever that is. A library that calls back from C++ into Python
    loses such an exception, makes an error of its own out of it, or crashes; in a thread of its own it never sees one.
    On a stop, `cancel` is called and the work waited for; work that cannot be cancelled is abandoned, and ends with
    the process.
    """
    result: list[T] = []
    failure: list[BaseException] = []
    finished = threading.Event()  # a join() that was interrupted does not wait a second time before Python 3.13

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:
            failure.append(error)
        finally:
            finished.set()

    thread = threading.Thread(target=run, name=getattr(work, "__name__", "work"), daemon=cancel is None)
    thread.start()
    try:
        finished.wait()
    except BaseException:
        if cancel is not None:
            cancel()
            finished.wait()
            thread.join()
        raise
    thread.join()
    if failure:
        raise failure[0]
    return result[0]
