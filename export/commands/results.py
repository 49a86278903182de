"""What every command prints with --json: one object, these fields and no others.

`build-engine` prints `bundle`, `engine` (its name), `path`, `built` (false for a stored one) and the fields of a
`runtime.bundle.engines.EngineRecord`; `inspect` prints a BundleFacts or an EngineFacts of `export.inspection`, by
`kind`; `debug` prints a Debugged of `export.debugging`. Errors are a line on stderr and exit code 2 instead; only
`verify` prints its object as well.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from shadowdiffusion.runtime.bundle.folder import Note, Verification

COLUMNS = 100
"""Width that is enough for everything that people are shown."""


class Exported(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`onnx`: the new bundle, its size in bytes, and the seconds it took; verification as in the manifest."""

    bundle: str
    bytes: int
    seconds: float
    verification: dict[str, Verification]
    notes: list[Note]


class Compiled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`kernels`: how many kernels the bundle has now, in how many files and bytes."""

    bundle: str
    kernels: int
    files: int
    bytes: int
    seconds: float


class Verified(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`verify`: what was measured, under "onnx" or the name of an engine.

    violations: what is past its tolerance or does not work, in words. not_run: engines that this machine cannot run,
    and why. not_stored: why the manifest was not changed, None if it was.
    """

    bundle: str
    passed: bool
    verification: dict[str, Verification]
    violations: dict[str, str]
    not_run: dict[str, str]
    not_stored: str | None


class Pruned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`prune`: the engines that were dropped, or with --dry-run would be, and why."""

    bundle: str
    dry_run: bool
    dropped: dict[str, str]


class Packed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`pack`: the zip file and its size in bytes."""

    file: str
    bytes: int


def show(result: msgspec.Struct, lines: Iterable[str], as_json: bool) -> None:
    """Print the result as JSON, or the lines for people."""
    print(msgspec.json.encode(result).decode() if as_json else "\n".join(lines), flush=True)


def table(name: str, found: Verification) -> list[str]:
    """One verification as aligned lines of at most 100 columns, worst figures over its photos."""
    verdict = "passed" if found.passed else "FAILED"
    what = {"golden": "its golden example"}.get(found.against, found.against)
    head = [f"{name} against {what}: {verdict}, measured {found.created}"]
    if len(head[0]) > COLUMNS:  # the name of an engine is long
        head = [name, f"  against {what}: {verdict}, measured {found.created}"]
    photos = [f"  on {photo}" for photo in found.photos]
    rows = [
        f"  {key:<18} {value.max_abs:>10.2e} {value.relative_l2:>12.2e} {value.psnr:>9.1f} dB"
        for key, value in sorted(found.differences.items(), key=lambda item: _order(item[0]))
    ]
    return [*head, *photos, f"  {'':<18} {'max abs':>10} {'relative L2':>12} {'PSNR':>12}", *rows]


def _order(key: str) -> tuple[int, int, str]:
    """Networks first, then the steps as they run, then whole loops."""
    if key.startswith("step "):
        return 1, int(key.removeprefix("step ")), key
    last = ("loop", "blind loop", "golden")
    return (2, last.index(key), key) if key in last else (0, 0, key)
