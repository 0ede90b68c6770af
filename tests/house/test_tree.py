"""Rules of the house that a reader would otherwise have to remember."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import skerry

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for path in (ROOT / "src").rglob("*.py") if "_sync" not in path.parts)


def test_the_tree_keeps_its_rules() -> None:
    """No machine paths, no registry hosts, nothing unfinished, no giant modules."""
    check = subprocess.run([sys.executable, ROOT / "tools/check_tree.py"], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout


def test_the_public_api_is_the_accepted_one() -> None:
    """A changed signature is a decision, made with `make api` and seen in review."""
    check = subprocess.run(
        [sys.executable, ROOT / "tools/public_api.py", "--check"], capture_output=True, text=True, cwd=ROOT
    )
    assert check.returncode == 0, check.stdout + check.stderr


def test_every_public_name_resolves_and_is_listed() -> None:
    assert sorted(skerry.__all__) == dir(skerry)
    for name in skerry.__all__:
        assert getattr(skerry, name) is not None


def test_an_unknown_name_is_an_ordinary_attribute_error() -> None:
    assert not hasattr(skerry, "Atlantis")


def test_public_functions_are_typed_and_documented() -> None:
    """All are typed; at most one in twenty, self-explaining, has no docstring of its own."""
    public, bare = 0, []
    for path in SOURCES:
        for owner, node in _public(ast.parse(path.read_text())):
            where = f"{path.relative_to(ROOT)}:{node.lineno} {owner}{node.name}"
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            untyped = [a.arg for a in arguments if a.annotation is None and a.arg not in {"self", "cls"}]
            assert not untyped, f"{where} leaves {untyped} untyped"
            assert node.returns is not None, f"{where} does not say what it returns"
            public += 1
            if ast.get_docstring(node) is None:
                bare.append(where)
    assert len(bare) <= public / 20, "\n".join(bare)


def _public(tree: ast.Module) -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    found: list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            found.append(("", node))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            found += [
                (f"{node.name}.", member)
                for member in node.body
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and not member.name.startswith("_")
            ]
    return found
