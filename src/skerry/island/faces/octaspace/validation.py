"""Reading the members of a JSON body (protocol section 3.14: 422 for what is of the wrong kind)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skerry.island.faces.octaspace.errors import invalid
from skerry.island.faces.octaspace.wire import integral

MOST_TEXT = 65_536
MOST_VARIABLES = 256
_WORDS = {dict: "an object", list: "an array", str: "text", bool: "true or false"}


class Form:
    """One object of a body; members that nobody asks for are ignored, null counts as absent.

    Args:
        value: what should be an object.
        name: what to call it in a refusal.
    """

    def __init__(self, value: Any, name: str = "The body") -> None:
        if not isinstance(value, dict):
            raise invalid(f"{name} must be an object, not {kind_of(value)}")
        self._members: dict[str, Any] = value
        self._prefix = "" if name == "The body" else f"{name}."

    def has(self, name: str) -> bool:
        """Whether a member says something."""
        return self._members.get(name) is not None

    def text(self, name: str, default: str | None = None, *, most: int = MOST_TEXT) -> str:
        """A text; required without a default."""
        value = self._get(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, "text", value)
        if len(value) > most or "\0" in value:
            raise invalid(f"{self._prefix}{name} must have at most {most} characters, none of them NUL")
        return value

    def whole(self, name: str, default: int | None = None, *, least: int = 0, most: int = 2**53 - 1) -> int:
        """A whole number, in any spelling of JSON; required without a default."""
        value = self._get(name, default)
        number = integral(value)
        if number is None:
            raise self._wrong(name, "a whole number", value)
        if not least <= number <= most:
            raise invalid(f"{self._prefix}{name} must be from {least} to {most}, not {_short(number)}")
        return number

    def flag(self, name: str, default: bool | None = None) -> bool:
        """True or false; required without a default."""
        value = self._get(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false", value)
        return value

    def ports(self, name: str, *, most: int = 65535) -> list[int]:
        """A list of distinct ports, 1 to 65535; empty when it is absent."""
        found: list[int] = []
        given = self._list(name)
        if len(given) > most:
            raise invalid(f"{self._prefix}{name} must have at most {most} ports")
        for item in given:
            port = integral(item)
            if port is None:
                raise self._wrong(name, "an array of ports", item, inside=True)
            if not 1 <= port <= 65535:
                raise invalid(f"{self._prefix}{name} has {_short(port)}; ports are 1 to 65535")
            if port in found:
                raise invalid(f"{self._prefix}{name} has port {port} twice")
            found.append(port)
        return found

    def variables(self, name: str) -> dict[str, str]:
        """An environment: scalars become text, null the empty text (section 3.3)."""
        value = self._members.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(name, "an object", value)
        if len(value) > MOST_VARIABLES:
            raise invalid(f"{self._prefix}{name} must have at most {MOST_VARIABLES} members")
        return {key: self._variable(name, key, item) for key, item in value.items()}

    def _variable(self, name: str, key: str, value: Any) -> str:
        if isinstance(value, dict | list):
            raise invalid(f"{self._prefix}{name}.{key[:100]} must be text, not {kind_of(value)}")
        text = as_text(value)
        if not key or "=" in key or "\0" in key + text or len(key) > 256 or len(text) > MOST_TEXT:
            raise invalid(f"{self._prefix}{name}.{key[:100]} cannot be an environment variable")
        return text

    def _list(self, name: str) -> list[Any]:
        value = self._members.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(name, "an array", value)
        return value

    def _get(self, name: str, default: Any) -> Any:
        value = self._members.get(name)
        if value is None and default is None:
            raise invalid(f"{self._prefix}{name} is required")
        return default if value is None else value

    def _wrong(self, name: str, wanted: str, value: Any, *, inside: bool = False) -> Exception:
        rest = f"; it has {kind_of(value)}" if inside else f", not {kind_of(value)}"
        return invalid(f"{self._prefix}{name} must be {wanted}{rest}")


def as_text(value: Any) -> str:
    """A scalar of JSON as the text of an environment variable."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def as_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """An environment as texts."""
    return {key: as_text(value) for key, value in values.items()}


def kind_of(value: Any) -> str:
    """What a JSON value is, for a message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    for kind, words in _WORDS.items():
        if isinstance(value, kind):
            return words
    if integral(value) is not None:
        return "a number"
    return "one that large" if value == value.to_integral_value() else "a fraction"


def _short(number: int) -> str:
    text = str(number)
    return text if len(text) <= 25 else f"{text[:22]}..."
