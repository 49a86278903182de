"""The control groups (containers) around this process, whose limits count beside those of the machine."""

from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


def groups_around(controller: str, proc: Path = PROC, cgroups: Path = CGROUPS) -> Iterator[tuple[Path, int]]:
    """(folder, version 1 or 2) of every group that may limit a controller, such as "memory", for this process.

    A folder need not exist, nor hold a limit. Yields nothing where there are no control groups.
    """
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for controllers, path in (line.split(":", 2)[1:] for line in lines if line.count(":") >= 2):
        if controllers == "":
            root, version = cgroups, 2
        elif controller in controllers.split(","):
            root, version = cgroups / controller, 1
        else:
            continue
        folder = root / path.lstrip("/")
        # inside a container, the path is often that of the host, and only the root can be seen
        for group in (folder, *folder.parents):
            if not group.is_relative_to(root):
                break
            yield group, version
