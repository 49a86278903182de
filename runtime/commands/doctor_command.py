"""`shadowdiffusion doctor`: what this machine offers, what would restore photos here, and why nothing better does."""

from typing import Annotated

import typer

from shadowdiffusion.runtime.commands import restore_options as options


def doctor(
    bundle: options.BundlePath = None,
    backend: options.Backend = "auto",
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON array of all findings.")] = False,
) -> None:
    """Examine machine, packages, bundle and engines, and run the golden example; exit code 2 if photos cannot be
    restored.
    """
    from shadowdiffusion.runtime.commands.doctor import examine

    found = []
    for finding in examine(bundle, backend, device, threads):
        found.append(finding)
        if not json:
            typer.echo(f"{finding.subject:<21}{finding.text}{'' if finding.good else '  <- this is a problem'}")
    if json:
        import msgspec

        typer.echo(msgspec.json.encode([finding._asdict() for finding in found]))
    if not all(finding.good for finding in found):
        raise typer.Exit(2)
