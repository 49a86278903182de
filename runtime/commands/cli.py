"""Command line: `shadowdiffusion restore`, `info` and so on, each in a file of its own.

Everything heavy is imported inside the commands, so that `--help` answers at once. Exit codes: 0 all is well, 1 some
photos failed, 2 bad usage, bundle or machine, 128 + N ended by signal N (130: Ctrl-C). Errors are one line on stderr.
"""

import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Annotated

import typer

from shadowdiffusion.runtime.commands.console import complain, survive_any_name
from shadowdiffusion.runtime.commands.doctor_command import doctor
from shadowdiffusion.runtime.commands.info_command import info
from shadowdiffusion.runtime.commands.restore_command import restore
from shadowdiffusion.runtime.commands.restore_options import ENDING
from shadowdiffusion.runtime.commands.sectioned_help import SectionedCommand
from shadowdiffusion.runtime.errors import RestoreError

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

OTHERS = {
    "export": ("shadowdiffusion.export.commands.cli", "Make bundles, kernels and engines, and look after them."),
    "train": ("shadowdiffusion.training.cli", "Train, evaluate and import networks."),
    "bench": ("shadowdiffusion.benchmarks.cli", "Measure bundles, engines and kernels."),
}
"""Command -> module with its `main(program)`, and the line of `--help`. They load only when they are called."""


def _delegate(name: str, module: str) -> Callable[[typer.Context], None]:
    def call(context: typer.Context) -> None:
        sys.argv[1:] = context.args
        import_module(module).main(f"shadowdiffusion {name}")

    return call


for _name, (_module, _help) in OTHERS.items():
    app.command(
        _name,
        help=_help,
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False},
    )(_delegate(_name, _module))


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
