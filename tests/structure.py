"""`python -m tests.structure`: print the number of entries, imports between them and import levels of each package.

Uses grimp, like import-linter.
"""

from __future__ import annotations

import sys
from pathlib import Path

import grimp
from rich.console import Console
from rich.table import Table

PACKAGES = ("app", "app.web", "trainer")


def entry_of(module: str, package: str) -> str | None:
    """Return the child of `package` that contains `module`, or None for the package itself."""
    inside = module.removeprefix(f"{package}.")
    return None if inside == module else inside.split(".")[0]


def edges_of(graph: grimp.ImportGraph, package: str) -> dict[str, set[str]]:
    """Return, for each entry of the package, the other entries that any of its modules imports."""
    edges: dict[str, set[str]] = {entry: set() for m in graph.modules if (entry := entry_of(m, package)) is not None}
    for module in graph.modules:
        importer = entry_of(module, package)
        if importer is None:
            continue
        for found in graph.find_modules_directly_imported_by(module):
            imported = entry_of(found, package)
            if imported is not None and imported != importer:
                edges[importer].add(imported)
    return edges


def levels_of(edges: dict[str, set[str]]) -> tuple[int, list[str]]:
    """Return the length of the longest import chain and the entries that are part of or depend on a cycle."""
    left = {entry: set(imported) for entry, imported in edges.items()}
    levels = 0
    while free := [entry for entry, imported in left.items() if not imported]:
        levels += 1
        for entry in free:
            del left[entry]
        for imported in left.values():
            imported.difference_update(free)
    return levels, sorted(left)


def largest_folder(package: str) -> tuple[str, int]:
    """Return the folder of the package with the most modules, not counting migrations, and their number."""
    counts = {
        str(folder): sum(1 for file in folder.glob("*.py") if file.name != "__init__.py")
        for folder in [Path(package), *Path(package).rglob("*")]
        if folder.is_dir() and "migrations" not in folder.parts
    }
    name = max(counts, key=lambda folder: counts[folder])
    return name, counts[name]


def main() -> None:
    sys.path.insert(0, str(Path.cwd()))
    graph = grimp.build_graph("app", "trainer", cache_dir=None)
    table = Table("package", "entries", "imports between them", "levels", "in a cycle")
    for package in PACKAGES:
        if package not in graph.modules:
            continue
        edges = edges_of(graph, package)
        levels, cyclic = levels_of(edges)
        table.add_row(
            package, str(len(edges)), str(sum(map(len, edges.values()))), str(levels), ", ".join(cyclic) or "none"
        )
    console = Console()
    console.print(table)
    for package in ("app", "trainer"):
        name, count = largest_folder(package)
        console.print(f"largest folder of {package}: {name}, {count} modules")


if __name__ == "__main__":
    main()
