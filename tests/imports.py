"""What Python files import, without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

NAME = "shadowdiffusion"
DYNAMIC = {"importlib.import_module", "import_module", "__import__"}


def imported(nodes: Iterable[ast.AST], package: str = "") -> Iterator[tuple[str, int]]:
    """Imports of statements, of those inside functions too.

    Args:
        nodes: Statements or whole modules.
        package: Folder of the file, which relative imports are of.

    Yields:
        Module and line. The modules of this project begin with their folder: `runtime.errors`.
    """
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            names = [package]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{NAME}.{alias.name}" for alias in node.names] if node.module == NAME else [node.module or ""]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in DYNAMIC and node.args:
            argument = node.args[0]
            names = [str(argument.value)] if isinstance(argument, ast.Constant) else []
        yield from ((name.removeprefix(f"{NAME}."), node.lineno) for name in names)  # type: ignore[attr-defined]
