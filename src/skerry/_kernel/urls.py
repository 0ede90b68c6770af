"""URLs are encoded once, here, and never again: what is built is what is signed and what is sent."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from skerry.errors import ConfigurationError, InvalidRequestError

# What `encodeURIComponent` of the web platform leaves alone beyond letters, digits and `-_.`.
_UNESCAPED = "!~*'()"
# A bare dot segment would be folded into its parent by URL parsers on the way, so that `..` would name another
# resource; the escaped form survives.
_DOTS = {".": "%2E", "..": "%2E%2E"}


def segment(value: str) -> str:
    """One path segment, exactly as `encodeURIComponent` writes it (dot segments are escaped as well).

    Raises:
        InvalidRequestError: the text holds half of a surrogate pair and has no UTF-8 form.

    Example:
        >>> segment("a/b c?d#é")
        'a%2Fb%20c%3Fd%23%C3%A9'
    """
    try:
        return _DOTS.get(value) or quote(value, safe=_UNESCAPED)
    except UnicodeEncodeError:
        raise InvalidRequestError(f"{value!r} cannot be written in a URL") from None


def query(parameters: Mapping[str, object]) -> str:
    """A query string with its question mark, or nothing when there are no parameters; spaces become `%20`."""
    text = "&".join(f"{segment(name)}={segment(_text(value))}" for name, value in parameters.items())
    return f"?{text}" if text else ""


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def base_url(value: str, *, name: str = "base_url") -> str:
    """A base URL without surrounding blanks and without any trailing slash.

    Args:
        value: as the user gave it.
        name: what to call it in the error.

    Raises:
        ConfigurationError: nothing is left.
    """
    trimmed = value.strip().rstrip("/")
    if not trimmed:
        raise ConfigurationError(f"{name} must not be empty")
    return trimmed
