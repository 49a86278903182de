"""Advisory locks on open files, which end with their process: how several processes share a folder."""

from shadowdiffusion.runtime.errors import RestoreError


def lock(descriptor: int, wait: bool = False) -> bool:
    """Lock an open file or folder for this process alone, until its descriptor is closed.

    Args:
        descriptor: Of the file or folder.
        wait: Whether to wait for another process that has it locked.

    Returns:
        False if another process has it locked, and nothing waits for that.

    Raises:
        RestoreError: On a system without advisory locks.
        OSError: On a file system without them.
    """
    check_locks()
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def check_locks() -> None:
    """Raise RestoreError on a system without advisory locks: Windows."""
    try:
        import fcntl  # noqa: F401
    except ImportError:
        text = "this system has no advisory file locks (fcntl), as Windows has none: use Linux or macOS"
        raise RestoreError(f"{text}, or WSL on Windows") from None
