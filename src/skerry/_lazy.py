"""Names of a package that are loaded when they are first asked for, so that importing it costs little."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy(
    package: str, homes: Mapping[str, str], names: Sequence[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """What a package has as its `__getattr__` and its `__dir__` (PEP 562).

    Args:
        package: its `__name__`.
        homes: the module of each name.
        names: its `__all__`.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        # The next time nobody asks here.
        setattr(sys.modules[package], name, value)
        return value

    return find, lambda: sorted(names)
