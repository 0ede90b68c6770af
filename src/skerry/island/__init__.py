"""An island: the networks' protocols over one engine, on your own machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skerry.island.island import Island
    from skerry.island.settings import Prices, Settings

__all__ = ["Island", "Prices", "Settings"]

_HOMES = {"Island": "skerry.island.island", "Prices": "skerry.island.settings", "Settings": "skerry.island.settings"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
