"""What a module says that it contains is what it contains, in the package and the benchmarks."""

import ast
import re
from pathlib import Path

import pytest
from stage import ROOT

LISTING = {
    path: found[1]
    for folder in ("engine/dance", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if (found := re.search(r"^Contents\n-+\n(.*)", ast.get_docstring(ast.parse(path.read_text())) or "", re.M | re.S))
}


def named(contents: str) -> set[str]:
    """Return the names in a list of contents; indented lines say what those before them are for."""
    lines = contents.partition("\n\n")[0].splitlines()
    return set(re.findall(r"\w+", "\n".join(line for line in lines if not line.startswith(" "))))


def defined(path: Path) -> tuple[set[str], set[str]]:
    """Return the public names that a module defines at its top level, and those that it imports."""
    own, imported = set(), set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and not _is_type_variable(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            own |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.ImportFrom) and node.level:
            imported |= {each.asname or each.name for each in node.names}
    return {name for name in own if not name.startswith("_")}, imported


def _is_type_variable(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "TypeVar"


@pytest.mark.parametrize("path", LISTING, ids=lambda path: str(path.relative_to(ROOT)))
def test_contents_are_complete_and_true(path: Path) -> None:
    own, imported = defined(path)
    contents = named(LISTING[path])
    assert own <= contents
    assert contents <= own | imported  # packages list what they pass on


def test_most_modules_list_their_contents() -> None:
    assert len(LISTING) > 40
