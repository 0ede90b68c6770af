"""How the owner's choices about a helper are read from variables of the environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from skerry.errors import ConfigurationError, InvalidRequestError

Readers = Mapping[str, tuple[str, Callable[[str], Any]]]
"""By the variable's name without its prefix: the field that it sets, and what makes a value of its text."""


def read(environ: Mapping[str, str], prefix: str, readers: Readers) -> dict[str, Any]:
    """What the environment says of some fields, by their names.

    Raises:
        ConfigurationError: a variable cannot be read as what it should be.
    """
    values: dict[str, Any] = {}
    for variable, (name, reader) in readers.items():
        if text := environ.get(prefix + variable):
            try:
                values[name] = reader(text)
            except (ValueError, InvalidRequestError) as error:
                raise ConfigurationError(f"{prefix}{variable}={text!r} is unreadable: {error}") from None
    return values


def switch(text: str) -> bool:
    """`on` or `off`. Raises ValueError."""
    if text not in ("on", "off"):
        raise ValueError("it is on or off")
    return text == "on"


def seconds(text: str) -> float:
    """A time that is more than nothing and ends. Raises ValueError."""
    found = float(text)
    if not 0 < found < float("inf"):
        raise ValueError("it is a number of seconds, more than 0")
    return found
