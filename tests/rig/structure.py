"""The structure of the package, read from its source: who imports whom, in which order, and how big the modules are.

`scripts/structure` prints it; tests/pure/test_imports.py holds the package to it.
"""

import ast
import graphlib
import re
import statistics
from collections.abc import Collection, Iterator
from pathlib import Path

PACKAGE = "mpengine"
ROOT = Path(__file__).parents[2] / PACKAGE

# From the ground up. A module imports from its own room and from lower floors, never from a neighbour on its own floor.
# "" is what stands in no room: the package's `__init__`, which has its public names. The whole configuration
# (`shared.config`) stands above the recognisers, whose tables it has; the tables of all others are on the ground.
FLOORS = (
    {"shared"},
    {"processes"},
    {"client", "dialects"},
    {"shared.config", "formats"},
    {"capture", "streaming", "supervisor", "recogniser"},
    {"embedded", "recorder", "relay", "web"},
    {""},
    {"cli"},
    {"__main__"},
)
# The same inside of a room that has folders. "" is what stands in none of them.
FLOORS_INSIDE = {
    "streaming": ({"websocket"}, {""}),
    "supervisor": ({"decide"}, {"children", "host"}, {"bus"}, {""}),
    "cli": ({"terminal"}, {"handing", "recordings"}, {""}, {"check", "devices"}),
}
SLIVER_LINES = 60


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {_name(path): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in PATHS.items()}
LINES = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in PATHS.items()}


_HAVE_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)


def _is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def _import_statements(node: ast.AST, *, typed: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        elif isinstance(child, _HAVE_STATEMENTS) and (typed or not _is_for_type_checkers(child)):
            yield from _import_statements(child, typed=typed)


def _imported(tree: ast.Module, *, typed: bool) -> set[str]:
    """The full names of the modules that `tree` imports; `from package import module` counts as the module."""
    names = set()
    for statement in _import_statements(tree, typed=typed):
        if isinstance(statement, ast.Import):
            names.update(alias.name for alias in statement.names)
        else:
            assert statement.level == 0, "relative import"
            whole = {f"{statement.module}.{alias.name}" for alias in statement.names}
            names |= whole & PATHS.keys()
            if whole - PATHS.keys():
                names.add(statement.module or "")
    return names


IMPORTS = {name: _imported(tree, typed=False) for name, tree in TREES.items()}
"""What each module imports when it runs: ours and others'."""
KNOWS = {name: _imported(tree, typed=True) & PATHS.keys() for name, tree in TREES.items()}
"""Which of our modules each one names, also for type checkers alone."""


def room(name: str) -> str:
    """The folder of the package in which `name` stands, or the one inside of it that has a floor of its own."""
    first, second, *_ = (*name.split(".")[1:], "", "")
    return inner if any((inner := f"{first}.{second}") in floor for floor in FLOORS) else first


def modules_of(wanted: str) -> set[str]:
    """All modules in a room."""
    return {name for name in PATHS if room(name) == wanted}


def _folder(name: str) -> str:
    """The folder of its room in which `name` stands."""
    inside = name.removeprefix(f"{PACKAGE}.{room(name)}").removeprefix(".").partition(".")[0]
    return inside if PATHS[name].parent.parent.parent == ROOT else ""


def _floor(place: str, floors: Collection[set[str]]) -> int:
    return next(number for number, places in enumerate(floors) if place in places)


def _goes_up(name: str, other: str) -> bool:
    """Whether `other` stands on no lower floor than `name`, in another room or folder."""
    if room(name) != room(other):
        return _floor(room(other), FLOORS) >= _floor(room(name), FLOORS)
    floors, here, there = FLOORS_INSIDE.get(room(name)), _folder(name), _folder(other)
    return floors is not None and here != there and _floor(there, floors) >= _floor(here, floors)


def upward_arrows() -> list[tuple[str, str]]:
    """Who imports something that does not stand below."""
    return [(name, other) for name in PATHS for other in sorted(KNOWS[name]) if _goes_up(name, other)]


def circle() -> list[str]:
    """Modules of which each imports the next one, and the last the first; empty if there are none."""
    try:
        graphlib.TopologicalSorter(KNOWS).prepare()
    except graphlib.CycleError as error:
        return list(reversed(error.args[1]))
    return []


def _says_pure(name: str) -> bool:
    first_line = (ast.get_docstring(TREES[name]) or "").partition("\n")[0]
    return re.search(r"\bPure\b", first_line) is not None


def is_pure(name: str) -> bool:
    """Whether the first line of the module's docstring, or of its folder's, has the word "Pure"."""
    return _says_pure(name) or _says_pure(name.rpartition(".")[0] or name)


def counted() -> list[str]:
    """The modules with something in them: without an `__init__` that has nothing but a docstring."""
    return [name for name, tree in TREES.items() if PATHS[name].name != "__init__.py" or len(tree.body) > 1]


def slivers() -> dict[str, str]:
    """Small modules that one other alone imports, and that one."""
    found = {}
    for name in counted():
        importers = [other for other, known in KNOWS.items() if name in known]
        if LINES[name] < SLIVER_LINES and len(importers) == 1 and PATHS[name].name != "__init__.py":
            found[name] = importers[0]
    return found


def main() -> None:
    """Print the figures: first those that tests hold at 0, then hints for the eye."""
    arrows, small = upward_arrows(), slivers()
    print("rules: both must be 0")
    print(f"arrows upwards   {len(arrows)}")
    for name, other in arrows:
        print(f"  {name} -> {other}")
    print(f"circles          {1 if circle() else 0}")
    print(*(f"  {name}\n" for name in circle()), sep="", end="")
    print("hints")
    longest = max(counted(), key=LINES.__getitem__)
    print(f"modules          {len(counted())}")
    print(f"median lines     {statistics.median(LINES[name] for name in counted()):g}")
    print(f"longest          {LINES[longest]} {longest}")
    print(f"package lines    {sum(LINES.values())}")
    print(f"pure modules     {sum(map(is_pure, counted()))}")
    print(f"under {SLIVER_LINES} lines with one importer   {len(small)}")
    for name, importer in small.items():
        print(f"  {name} ({LINES[name]}) <- {importer}")


if __name__ == "__main__":
    main()
