"""What the results in a folder were made from: the file `.shadowdiffusion.jsonl` among them, one JSON object per line.

A line is appended just before its result takes its name, so that every result of ours is known, whenever a process is
killed; of several lines for one name the last counts. A result is known by the hash of its bytes: one that was edited
since is the user's own file. Names are relative, so the folder may be moved. Without the file nothing is lost, but
results are no longer known.
"""

import json
import os
from dataclasses import dataclass
from threading import Lock
from typing import Any

NOTES = ".shadowdiffusion.jsonl"


@dataclass(frozen=True)
class Origin:
    """All that a result depends on; hashes are SHA-256, hexadecimal."""

    input: str
    mask: str | None
    bundle: str
    settings: dict[str, Any]
    clean: str | None = None
    """Of a given estimate of the clean photo."""

    def difference(self, other: "Origin") -> str:
        """In what `other` differs, for people; "" if in nothing."""
        inputs = {"input": "photo", "mask": "mask", "clean": "clean estimate", "bundle": "bundle"}
        for name, shown in inputs.items():
            if getattr(self, name) != getattr(other, name):
                return f"from another {shown}"
        names = [name for name in self.settings | other.settings if self.settings.get(name) != other.settings.get(name)]
        theirs = [f"{name} {other.settings[name]}" if name in other.settings else f"no {name}" for name in names]
        return f"with {', '.join(theirs)}" if names else ""


@dataclass(frozen=True)
class Note:
    """What is known of one file."""

    sha256: str
    origin: Origin
    used: dict[str, str | None] | None = None
    """What ran the networks (`runtime.loop.networks.Used`): another engine alone makes no other result."""


class Notes:
    """The notes in one folder; other threads and processes may add to them at any time."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, NOTES)
        self._lines: dict[str, bytes] = {}
        self._read = 0
        self._lock = Lock()

    def of(self, name: str) -> Note | None:
        """What is known of the file `name`."""
        with self._lock:
            self._catch_up()
            line = self._lines.get(name)
        if line is None:
            return None
        try:
            fields = json.loads(line)
            made = {name: fields[name] for name in ("input", "mask", "bundle")}
            origin = Origin(**made, settings=dict(fields["settings"]), clean=fields.get("clean"))
            return Note(fields["sha256"], origin, fields.get("used"))
        except (KeyError, TypeError, ValueError):
            return None

    def add(self, name: str, note: Note) -> None:
        """Append a note. Raises OSError if that is impossible."""
        record = {"file": name, "sha256": note.sha256, **vars(note.origin), "used": note.used}
        line = json.dumps(record).encode() + b"\n"
        file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":  # whoever wrote last was killed
                line = b"\n" + line
            if os.write(file, line) != len(line):  # one call, so that lines of several processes do not mix
                raise OSError("the disk is full")
        finally:
            os.close(file)

    def _catch_up(self) -> None:
        """Read the whole lines that were appended since last time."""
        try:
            with open(self._path, "rb") as file:
                if os.fstat(file.fileno()).st_size < self._read:  # not the file it was
                    self._read, self._lines = 0, {}
                file.seek(self._read)
                added = file.read()
        except OSError:
            self._read, self._lines = 0, {}
            return
        added = added[: added.rfind(b"\n") + 1]
        self._read += len(added)
        for line in added.splitlines():
            try:
                self._lines[json.loads(line)["file"]] = line
            except (KeyError, TypeError, ValueError, RecursionError):  # a torn line
                continue
