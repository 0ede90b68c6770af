"""The public API as text: one line per name, signature and field.

    python tools/public_api.py            print it
    python tools/public_api.py --write    accept it as tests/house/public_api.txt
    python tools/public_api.py --check    fail if it differs from that file

A change of that file is a change for users: it is reviewed, and it goes into the changelog.
"""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

GOLDEN = Path(__file__).parent.parent / "tests" / "house" / "public_api.txt"
NETWORKS = Path(__file__).parent.parent / "src" / "skerry" / "networks"
MODULES = (
    "skerry",
    "skerry.errors",
    "skerry.ids",
    "skerry.money",
    *sorted(f"skerry.networks.{package.parent.name}" for package in NETWORKS.glob("*/__init__.py")),
    "skerry.times",
    "skerry.units",
    "skerry.island.island",
    "skerry.island.settings",
)
# What every exception, dataclass and structure has is not ours to promise.
_OURS = ("__enter__", "__exit__", "__aenter__", "__aexit__", "__iter__", "__aiter__", "__len__", "__getitem__")


def lines() -> list[str]:
    """The whole API, sorted."""
    return sorted({line for module in MODULES for line in _of_module(module)})


def _of_module(name: str) -> Iterator[str]:
    module = import_module(name)
    declared = getattr(module, "__all__", None)
    for attribute in declared or [word for word in vars(module) if not word.startswith("_")]:
        value = getattr(module, attribute)
        home = getattr(value, "__module__", name) or name
        if name == "skerry" and inspect.isclass(value):
            yield f"skerry.{attribute} is one of the classes below"
            continue
        if declared is None and (inspect.ismodule(value) or not home.startswith("skerry")):
            continue
        if inspect.isclass(value):
            if declared is not None or home == name:
                yield from _of_class(f"{name}.{attribute}", value)
        elif inspect.isfunction(value):
            if declared is not None or home == name:
                yield f"{name}.{attribute}{_signature(value)}"
        elif declared is not None:
            yield f"{name}.{attribute}"


def _of_class(path: str, kind: type) -> Iterator[str]:
    bases = ", ".join(base.__name__ for base in kind.__bases__ if base is not object)
    yield f"{path}({bases})" if bases else path
    for owner in kind.__mro__:
        if not owner.__module__.startswith("skerry"):
            continue
        # One level of inheritance is said by the bases above; what they bring is listed with them, or here if they are
        # nobody's to see.
        if owner is not kind and not owner.__name__.startswith("_") and not owner.__module__.startswith("skerry._io"):
            continue
        for field, annotation in inspect.get_annotations(owner).items():
            if not field.startswith("_"):
                yield f"{path}.{field}: {annotation}"
        for name, member in vars(owner).items():
            if name.startswith("_") and name not in _OURS and not (name == "__init__" and owner is kind):
                continue
            if isinstance(member, property):
                yield f"{path}.{name} -> {_returns(member)}"
            elif isinstance(member, classmethod | staticmethod):
                yield f"{path}.{name}{_signature(member.__func__)}"
            elif inspect.isfunction(member) and not (name == "__init__" and hasattr(kind, "__dataclass_fields__")):
                yield f"{path}.{name}{_signature(member)}"


def _signature(function: object) -> str:
    try:
        found = inspect.signature(function)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "(...)"
    # The text of a default such as a function holds its address; that there is one is all that users need.
    parameters = [
        parameter.replace(default=parameter.default if _literal(parameter.default) else _SOME)
        for parameter in found.parameters.values()
    ]
    return str(found.replace(parameters=parameters)).replace("'", "")


def _literal(value: object) -> bool:
    return value is inspect.Parameter.empty or value is None or isinstance(value, bool | int | float | str | tuple)


class _Some:
    def __repr__(self) -> str:
        return "..."


_SOME = _Some()


def _returns(member: property) -> str:
    annotation = inspect.get_annotations(member.fget).get("return") if member.fget else None
    return str(annotation)


def main(arguments: list[str]) -> int:
    """Print, write or check; returns the exit status."""
    text = "".join(f"{line}\n" for line in lines())
    if arguments == ["--write"]:
        GOLDEN.write_text(text)
        return 0
    if arguments == ["--check"]:
        diff = difflib.unified_diff(
            GOLDEN.read_text().splitlines(), text.splitlines(), "accepted", "present", lineterm="", n=0
        )
        found = list(diff)
        if found:
            print(*found, sep="\n")
            print("the public API differs from the accepted one; if that is meant: make api", file=sys.stderr)
        return bool(found)
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
