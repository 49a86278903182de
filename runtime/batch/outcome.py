"""What became of one photo, and its record for programs."""

from dataclasses import dataclass, field
from typing import Any, Literal

from shadowdiffusion.runtime.loop.networks import Used

Status = Literal["restored", "skipped", "failed", "dropped", "busy", "result"]
"""skipped: it was done before; dropped: the user interrupted it; busy: another process is at it, or it may be the
result of another photo of this run, which comes first; result: it is one.
"""


@dataclass
class Outcome:
    """What became of one photo."""

    input: str
    output: str | None = None
    status: Status = "failed"
    error: str | None = None
    seconds: float = 0.0
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds of each part; `seconds` is more, as it includes waiting for the networks."""
    width: int | None = None
    height: int | None = None
    tile: tuple[int, int] | None = None
    """(height, width) in pixels of the tiles that --native had to use."""
    used: Used | None = None
    """What ran the networks."""
    mask: str | None = None
    clean: str | None = None
    """The given estimate of the clean photo."""
    extras: dict[str, str] = field(default_factory=dict)
    """Files written beside the result, by kind."""
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What was changed or left out on the way, each a phrase for people."""
    picture: bytes | None = field(default=None, repr=False)
    """What stdout is to get."""

    def record(self) -> dict[str, Any]:
        """As JSON: everything but the picture."""
        fields = {name: value for name, value in vars(self).items() if name != "picture"}
        used = self.used and self.used._asdict()
        rounded = {name: round(seconds, 4) for name, seconds in self.timings.items()}
        return fields | {"seconds": round(self.seconds, 4), "timings": rounded, "used": used}
