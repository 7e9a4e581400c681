"""What `import microfield as mf` offers to people, completion and type checkers."""

from __future__ import annotations

import ast
import importlib
import inspect
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import microfield as mf


def test_dir_offers_the_public_names_and_all_of_them_exist() -> None:
    assert set(dir(mf)) == set(mf.__all__)
    assert {"compress", "open", "decompress", "compare", "open_image", "save_image", "Image"} <= set(dir(mf))
    for name in dir(mf):
        assert getattr(mf, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'shrink'"):
        mf.shrink  # type: ignore[attr-defined]  # noqa: B018


def test_help_shows_the_first_steps_and_every_function() -> None:
    text = pydoc.plain(pydoc.render_doc(mf))
    assert 'mf.compress("cells.ome.tif", "cells.mfield", ratio=100)' in text
    assert "Keep the originals" in text
    for name in ("compress", "decompress", "compare", "open_image", "save_image"):
        assert f"\n    {name}(" in text


def test_type_checkers_see_what_runs() -> None:
    """Names under TYPE_CHECKING are those that the lazy table gives."""
    tree = ast.parse(Path(mf.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    checked = {alias.asname or alias.name: (node.module, alias.name)
               for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert checked == mf._LAZY
    assert (Path(mf.__file__).parent / "py.typed").exists()


def test_public_functions_say_what_they_take() -> None:
    for name in mf.__all__:
        value = getattr(mf, name)
        if inspect.isfunction(value):
            documented = inspect.getdoc(value) or ""
            for parameter in inspect.signature(value).parameters.values():
                assert parameter.name in documented, f"{name} does not document {parameter.name}"


def test_the_package_is_imported_without_numpy() -> None:
    code = "import sys, microfield; dir(microfield); print(sorted({'numpy', 'tifffile', 'jax'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_classes_are_those_of_their_modules() -> None:
    for name, (module, attribute) in mf._LAZY.items():
        assert getattr(mf, name) is getattr(importlib.import_module(module), attribute)
