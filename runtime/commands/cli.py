"""Command line: `shadowdiffusion restore`, `info` and so on, each in a file of its own.

Everything heavy is imported inside the commands, so that `--help` answers at once. Exit codes: 0 all is well, 1 some
photos failed, 2 bad usage, bundle or machine, 128 + N ended by signal N (130: Ctrl-C). Errors are one line on stderr.
"""

import sys
import warnings
from typing import Annotated

import typer

from runtime.commands.console import complain, survive_any_name
from runtime.commands.doctor_command import doctor
from runtime.commands.info_command import info
from runtime.commands.restore_command import restore
from runtime.commands.restore_options import ENDING
from runtime.commands.sectioned_help import SectionedCommand
from runtime.errors import RestoreError

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 118},
    pretty_exceptions_enable=False,
    help="Remove shadows from photos, and correct low light or exposure, with an exported bundle.",
)
app.command(cls=SectionedCommand, epilog=ENDING)(restore)
app.command()(info)
app.command()(doctor)


def main() -> None:
    """Run the command line and exit with its code; every error becomes one line on stderr."""
    survive_any_name()
    _show_warnings_only()
    warnings.showwarning = lambda message, *_, **__: complain(str(message), "warning")
    try:
        sys.exit(app(prog_name="shadowdiffusion", standalone_mode=False))
    except RestoreError as error:
        complain(str(error))
    except typer.Abort:
        complain("nothing was written", "interrupted")
        sys.exit(130)
    except Exception as error:
        if not hasattr(error, "format_message"):  # a usage error of the command line parser has it
            raise
        complain(f"{error.format_message()} (see --help)")
    sys.exit(2)


def _show_warnings_only() -> None:
    """Whatever PYTHONWARNINGS says: a warning, of ours or of a library, ends no photo."""
    warnings.resetwarnings()
    for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", kind)


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, help="Print the version.", callback=lambda on: _version(on)),
    ] = False,
) -> None: ...


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"shadowdiffusion {version('shadowdiffusion')}")
        except PackageNotFoundError:
            typer.echo("shadowdiffusion, not installed as a package")
        raise typer.Exit
