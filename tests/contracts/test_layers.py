"""Which room of the package may use which: read from the imports of every module, without running any.

`ROOMS` is the whole rule. A room is a package or a module directly under ``microfield``; it may use the rooms of its row,
and a row names only rooms above it, so that there are no cycles. Every import counts, wherever it stands: at the head of
a module, inside a function, or as the name of a module in a string, as in the registry of methods.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parents[2] / "src"
PACKAGE = "microfield"

ROOMS = {
    # The ground: no images, no files.
    "errors": "",
    "wording": "",
    "checks": "errors wording",
    "progress": "",
    "threads": "",
    "deadline": "",
    "noise": "",
    "kernel": "",
    "coding": "errors kernel",
    "models": "errors",
    "perceptual": "errors",
    "display": "errors",
    "acquisition": "errors",
    "display_coordinates": "display",
    "axes": "errors wording",
    "kinds": "errors",
    "units": "",
    "labelled": "errors wording acquisition display display_coordinates units",
    "notebook": "display",
    "image": "errors wording checks acquisition axes kinds display labelled notebook",
    "statistics": "image noise",
    "label_images": "image statistics",
    "saliency": "image noise",
    "objective": "errors wording image",
    "user_functions": "errors",
    "guidance": "errors wording labelled image objective perceptual user_functions",
    # What was lost, and what it does to an analysis: measures of arrays, which know of no file and no method.
    "metrics": "errors wording notebook image statistics perceptual",
    "analysis": "errors wording noise image label_images statistics",
    # Files of other people; our own file; networks; the methods that fill it; opening it.
    "io": "errors wording checks acquisition axes kinds display labelled progress units image",
    "format": "errors wording acquisition display image coding",
    "nn": "errors wording threads deadline image objective models",
    "methods": "errors wording threads deadline image saliency objective guidance kernel coding models nn format io metrics "
               "analysis",
    "reading": "errors wording checks acquisition axes notebook display display_coordinates labelled progress image io format "
               "methods",
    # What a copy is good for: the page that says it, and the analyses that a file can be made safe for.
    "report": "errors wording display notebook image label_images statistics io metrics analysis",
    "tasks": "errors wording checks noise image user_functions analysis report",
    # Making files, and the networks that ship.
    "writing": "errors wording checks notebook axes display progress threads deadline image label_images saliency statistics "
               "objective guidance io format methods reading metrics tasks",
    "training": "errors threads coding models perceptual io nn methods",
    # For people and other programs: nothing but the command line uses these.
    "comparing": "errors wording checks notebook progress labelled image io reading metrics report",
    "bench": "errors wording progress image statistics io methods reading metrics analysis writing tasks",
    "study": "errors wording progress image io reading metrics tasks writing bench",
    "integrations": "errors wording checks notebook axes display progress threads units image statistics io format methods "
                    "reading metrics writing",
    "cli": "errors wording acquisition axes display progress threads kernel image label_images statistics io format methods "
           "reading metrics comparing analysis tasks writing report bench study integrations",
    "__main__": "cli",
}
"""Room to the rooms it may use."""

TYPES_ONLY = {("format", "methods")}
"""Allowed under ``if TYPE_CHECKING`` besides."""

OWED: set[tuple[str, str]] = set()
"""Imports that break the table and are still there: this set gets smaller, never larger."""

DECODES = (
    "microfield.reading.file", "microfield.methods.field.method", "microfield.methods.coordinate.siren",
    "microfield.methods.coordinate.inif", "microfield.methods.hybrid.method",
    "microfield.methods.conventional.downsample", "microfield.methods.lossless.method", "microfield.methods.learned.method",
)
"""What is imported to open a file of our own methods."""

DECODING_NEEDS = {"numpy", "cbor2", "threadpoolctl"}
"""Distributions that opening and decoding may import before it is known what the file is."""

AT_IMPORT, LATER, FOR_TYPES = "when it is imported", "inside a function or by name", "for types only"


class Import(NamedTuple):
    """``module`` uses ``target``, a module of this package or the top-level name of another one."""

    module: str
    target: str
    when: str
    line: int
    name: str = ""
    """What is taken from the package itself, as in ``from microfield import __version__``."""

    def __str__(self) -> str:
        return f"{self.module} (line {self.line}) imports {self.target} {self.when}"


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((SOURCE / PACKAGE).rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room(module: str) -> str:
    """The room of a module; the package itself, which offers the public names, is in none."""
    return module.split(".")[1] if "." in module else PACKAGE


@cache
def imports() -> tuple[Import, ...]:
    return tuple(one for module, path in modules().items()
                 for one in read_imports(module, ast.parse(path.read_text(encoding="utf-8")), AT_IMPORT))


def read_imports(module: str, node: ast.AST, when: str) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        inner = when
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            inner = LATER
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for part in child.body:
                yield from read_imports(module, ast.Module([part], []), FOR_TYPES)
            for part in child.orelse:
                yield from read_imports(module, ast.Module([part], []), when)
            continue
        yield from statement(module, child, when)
        yield from read_imports(module, child, inner)


def statement(module: str, node: ast.AST, when: str) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(module, known(alias.name), when, node.lineno)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, f"{module} (line {node.lineno}): write the full name instead of a relative import"
        for alias in node.names:
            yield Import(module, known(f"{node.module}.{alias.name}"), when, node.lineno, alias.name)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        named = re.fullmatch(rf"({PACKAGE}(?:\.\w+)+)(?::\w+)?", node.value)
        if named and named[1] in modules():
            yield Import(module, named[1], FOR_TYPES if when == FOR_TYPES else LATER, node.lineno)


def known(name: str) -> str:
    """The module of this package that a dotted name is in, or the top-level name of a foreign one."""
    if name.partition(".")[0] != PACKAGE:
        return name.partition(".")[0]
    while name not in modules():
        name = name.rpartition(".")[0]
    return name


def between_rooms() -> list[Import]:
    return [one for one in imports() if one.target.partition(".")[0] == PACKAGE and one.target != PACKAGE
            and room(one.module) not in (PACKAGE, room(one.target))]


def allowed(one: Import) -> bool:
    pair = room(one.module), room(one.target)
    return pair[1] in ROOMS.get(pair[0], "").split() or (one.when == FOR_TYPES and pair in TYPES_ONLY)


def test_every_room_has_a_row() -> None:
    rooms = {room(module) for module in modules() if module != PACKAGE}
    assert not rooms - set(ROOMS), (
        f"new under src/{PACKAGE}: {', '.join(sorted(rooms - set(ROOMS)))}; give each a row in ROOMS, below what it uses")
    assert not set(ROOMS) - rooms, f"no longer there, so take the row out of ROOMS: {', '.join(sorted(set(ROOMS) - rooms))}"


def test_a_row_names_rooms_above_it_only() -> None:
    above: list[str] = []
    for name, uses in ROOMS.items():
        lower = sorted(set(uses.split()) - set(above))
        assert not lower, f"{name} may use rooms above it only, and {', '.join(lower)} are not: that would make a cycle"
        above.append(name)


def test_rooms_use_only_the_rooms_of_their_row() -> None:
    wrong = [str(one) for one in between_rooms() if not allowed(one) and (one.module, one.target) not in OWED]
    assert not wrong, "\n".join([
        "these imports cross a border that the table does not open:", *wrong,
        "Move the code to the room it belongs in, or hand over what is needed as an argument. If the design has really "
        "changed, change ROOMS and docs/architecture.md together."])


def test_what_is_owed_gets_less() -> None:
    there = {(one.module, one.target) for one in between_rooms() if not allowed(one)}
    paid = sorted(OWED - there)
    assert not paid, f"no longer imported, so take it out of OWED: {paid}"


def test_rooms_do_not_need_each_other_to_be_imported() -> None:
    """No cycle among rooms by what runs at import. The table excludes cycles; this also looks at what is owed."""
    needs: dict[str, set[str]] = {name: set() for name in ROOMS}
    for one in between_rooms():
        if one.when == AT_IMPORT and (one.module, one.target) not in OWED:
            needs[room(one.module)].add(room(one.target))
    while free := [name for name, used in needs.items() if not used & set(needs) or name not in set().union(*needs.values())]:
        for name in free:
            del needs[name]
    assert not needs, f"these rooms import each other in a circle: {', '.join(needs)}"


def test_only_the_version_is_taken_from_the_package_itself() -> None:
    """The public names reach everything, so a module that used them could cross any border unseen."""
    wrong = [str(one) for one in imports() if one.target == PACKAGE and one.name != "__version__"]
    assert not wrong, "\n".join(["import from the module that defines what you need, not from the package:", *wrong])


@pytest.mark.parametrize("start", DECODES)
def test_decoding_imports_numpy_and_little_else(start: str) -> None:
    """By what runs at import; that decoding runs where the rest is not installed is tested in test_contracts.py."""
    how = {start: start}
    waiting = [start]
    while waiting:
        module = waiting.pop()
        parents = [module.rsplit(".", n)[0] for n in range(1, module.count(".") + 1)]
        used = [one for one in imports() if one.module == module and one.when == AT_IMPORT]
        for target in dict.fromkeys([*parents, *(one.target for one in used)]):
            if target not in how:
                how[target] = f"{how[module]} -> {target}"
                if target in modules():
                    waiting.append(target)
    foreign = {name for name in how if name not in modules()} - set(sys.stdlib_module_names) - DECODING_NEEDS
    assert not foreign, "\n".join([
        "opening a file must not import these; import them in the function that needs them:",
        *(how[name] for name in sorted(foreign))])


def test_imports_are_found_wherever_they_stand() -> None:
    program = '''
from __future__ import annotations
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from microfield.image import Image
else:
    import numpy.linalg
class Later:
    import microfield.io.tiff
    def method(self):
        from microfield import reading, __version__
        return "microfield.methods.field.method:FieldMethod", "see microfield.io for more"
'''
    found = {(one.target, one.when) for one in read_imports("example", ast.parse(program), AT_IMPORT)}
    assert found == {
        ("__future__", AT_IMPORT), ("typing", AT_IMPORT), ("microfield.image", FOR_TYPES), ("numpy", AT_IMPORT),
        ("microfield.io.tiff", AT_IMPORT), ("microfield.reading", LATER), ("microfield", LATER),
        ("microfield.methods.field.method", LATER),
    }
