"""Forks: the new process has none of the old one's threads, and its locks as they happened to be.

Whatever has threads or locks that outlive a call says here how it goes on in the new process, such as a worker of
PyTorch's DataLoader, or of a server that loads the bundle before it forks.
"""

import ctypes
import os
from typing import Any, Protocol
from weakref import WeakSet

AFTER_CUDA = "CUDA does not survive a fork: load the bundle in the new process, or start it by spawn"


class Forked(Protocol):
    """What `survive_forks` takes. Other threads may be at work in the old process."""

    def before_fork(self) -> None:
        """In the old process: wait for what must not be cut in two, and hold off more of it."""

    def after_fork(self, child: bool) -> None:
        """In either process: go on."""


_known: WeakSet[Forked] = WeakSet()
_forking: list[Forked] = []
"""Those that `before_fork` was called of, in that order."""


def survive_forks(something: Forked) -> None:
    """Tell an object, as long as it lives, of all forks of this process. It must be ready for that."""
    _known.add(something)


def abandon(something: Any) -> None:
    """Never destroy an object of the old process: its destructor would wait for threads that are not here."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(something))


def _before() -> None:
    _forking[:] = list(_known)
    for each in _forking:
        each.before_fork()


def _after(child: bool) -> None:
    for each in reversed(_forking):
        each.after_fork(child)
    _forking.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before, after_in_parent=lambda: _after(child=False), after_in_child=lambda: _after(child=True)
    )
