"""What a backend is given to compile, what it gives back, and what every backend must be able to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from shadowdiffusion.export.commands.console import Bar, Report
from shadowdiffusion.export.engines.key import EngineOptions
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.runtime.bundle.engines import BackendName, EngineKey, NetworkRecord, SessionSettings
from shadowdiffusion.runtime.bundle.folder import Bundle, Note

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True)
class Job:
    """One engine to compile.

    graphs: the networks in the key's precision, by file name. folder: empty, becomes the engine folder: everything
    in it is kept. caches: for what speeds up later builds (timing caches), in files whose names begin with a dot.
    """

    bundle: Bundle
    key: EngineKey
    options: EngineOptions
    graphs: dict[str, ModelProto]
    folder: Path
    caches: Path
    report: Report
    bar: Bar


@dataclass(frozen=True)
class Parts:
    """What a backend adds to the record of the engine: see `runtime.bundle.engines.EngineRecord`."""

    networks: dict[str, NetworkRecord]
    notes: list[Note] = field(default_factory=list)
    session: SessionSettings | None = None
    latency_ms: dict[str, float] = field(default_factory=dict)
    status: str = ""
    provisional: bool = False


class Backend(Protocol):
    """An installed compiler of engines."""

    @property
    def name(self) -> BackendName:
        """As on the command line."""

    @property
    def version(self) -> str:
        """Its own version, such as 1.7.1.116: part of the key."""

    @property
    def title(self) -> str:
        """Name and version for people."""

    def check(self, key: EngineKey, options: EngineOptions, report: Report) -> None:
        """Raise ExportError unless it can build that on this machine; `report` hears what the user should know."""

    def compile(self, job: Job) -> Parts:
        """Write the engine's files into `job.folder`. Raises ExportError, or BuildFailure with a log."""


@dataclass
class BuildFailure(ExportError):
    """The builder gave up; `log` has everything it said."""

    message: str
    log: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.message
