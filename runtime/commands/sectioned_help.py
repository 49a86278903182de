"""Help of a command with many options: in sections, and with an ending that is printed as it is."""

from typing import Any

from typer.core import TyperCommand


class SectionedCommand(TyperCommand):
    """Lists each option under its `rich_help_panel`, sections in the order of their first option."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """As the base class does, in plain text."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                name = getattr(parameter, "rich_help_panel", None) or "Options"
                sections.setdefault(name, []).append(record)
        for name, records in sections.items():
            with formatter.section(name):
                formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """As written: examples are not paragraphs."""
        if self.epilog:
            formatter.write(f"\n{self.epilog}")
