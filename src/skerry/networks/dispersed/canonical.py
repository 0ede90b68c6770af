"""The one spelling of a query and of a JSON body that both sides hash (sections 2.3 and 2.4).

What these functions give is also exactly what goes over the wire.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

from skerry._kernel.model import NOT_GIVEN, Model
from skerry.errors import InvalidRequestError
from skerry.times import rfc3339

_LARGEST_INDEX = 2**32 - 2
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile('["\\\\\x00-\x1f\ud800-\udfff]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_NO_POINT = 21
_SMALLEST_PLAIN = -6


def number_text(value: int | float) -> str:
    """A number as ECMAScript prints it; integers of any size are exact.

    Raises:
        InvalidRequestError: it is not finite (also a ValueError).

    Example:
        >>> [number_text(n) for n in (1.0, 1e16, 1e21, 1e-7, -0.0, 0.1)]
        ['1', '10000000000000000', '1e+21', '1e-7', '0', '0.1']
    """
    if isinstance(value, int):
        return int.__repr__(value)
    if not math.isfinite(value):
        raise InvalidRequestError(f"{value!r} has no form in JSON", network="dispersed")
    if value == 0:
        return "0"
    # Both languages take the shortest digits that read back as the same number; only the layout differs.
    mantissa, _, exponent = float.__repr__(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    sign = "-" if value < 0 else ""
    if len(digits) <= point <= _NO_POINT:
        return sign + digits.ljust(point, "0")
    if 0 < point <= _NO_POINT:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if _SMALLEST_PLAIN < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{rest}e{point - 1:+d}"


def moment_text(moment: datetime) -> str:
    """An aware moment in UTC with milliseconds and `Z`.

    Raises:
        InvalidRequestError: it is naive.
    """
    return rfc3339(moment.astimezone(UTC) if moment.tzinfo else moment).removesuffix("+00:00") + "Z"


def utf16(text: str) -> bytes:
    """Bytes that sort as JavaScript sorts text: by UTF-16 code unit."""
    return text.encode("utf-16-be", "surrogatepass")


def whole_characters(text: str) -> str:
    """The text with each surrogate pair joined to the character it stands for; lone halves stay."""
    if _SURROGATE.search(text) is None:
        return text[:]
    return utf16(text).decode("utf-16-be", "surrogatepass")


def quoted(text: str) -> str:
    """Percent-encoding of RFC 3986: all but letters, digits and `-._~` is escaped, in upper-case hex over UTF-8.

    Raises:
        InvalidRequestError: the text holds half of a surrogate pair and has no UTF-8 form.
    """
    try:
        return quote(whole_characters(text), safe="")
    except UnicodeEncodeError:
        raise InvalidRequestError(f"{text!r} cannot be written in a URL", network="dispersed") from None


def query_text(value: object) -> str:
    """A query value as text: lists are joined by commas, moments are ISO text, booleans are words.

    Raises:
        TypeError: the value has no text form.
    """
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number_text(value)
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, (list, tuple)):
        return ",".join("" if item is None else query_text(item) for item in value)
    if isinstance(value, (set, frozenset)):
        return ",".join(sorted(query_text(item) for item in value))
    raise TypeError(f"{value!r} cannot be a query value")


def sorted_pairs(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Decoded pairs by key, then by value, each in the order of UTF-16 code units."""
    return sorted(pairs, key=lambda pair: (utf16(pair[0]), utf16(pair[1])))


def joined(pairs: Iterable[tuple[str, str]], encode: Callable[[str], str] = quoted) -> str:
    """Pairs as `key=value` with `&` between; an empty value keeps its equals sign."""
    return "&".join(f"{encode(name)}={encode(value)}" for name, value in pairs)


def canonical_query(parameters: Mapping[str, object] | Iterable[tuple[str, object]] | None) -> str:
    """The query of a request, without question mark (section 2.3).

    Args:
        parameters: by name, or as pairs where a name is to appear twice; None and `NOT_GIVEN` values are dropped.

    Raises:
        TypeError: a name is no text, or a value has no text form.
        InvalidRequestError: a text has no UTF-8 form.

    Example:
        >>> canonical_query({"limit": 10, "filter[status]": ["PENDING", "RUNNING"], "sort": None})
        'filter%5Bstatus%5D=PENDING%2CRUNNING&limit=10'
    """
    if parameters is None:
        return ""
    pairs: list[tuple[str, str]] = []
    for name, value in parameters.items() if isinstance(parameters, Mapping) else parameters:
        if not isinstance(name, str):
            raise TypeError(f"a parameter's name must be text, not {name!r}")
        if value is not None and value is not NOT_GIVEN:
            pairs.append((whole_characters(name), query_text(value)))
    return joined(sorted_pairs(pairs))


def string_json(text: str) -> str:
    """A JSON string with only the escapes that must be: quotes, backslash, control characters, lone surrogates."""
    return f'"{_ESCAPED.sub(_escape, whole_characters(text))}"'


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    return _SHORT.get(character) or f"\\u{ord(character):04x}"


def key_order(key: str) -> tuple[int, int, bytes]:
    """What JavaScript orders the keys of a rebuilt object by: array indices as numbers, then the rest as UTF-16."""
    if _INDEX.fullmatch(key) and int(key) <= _LARGEST_INDEX:
        return 0, int(key), b""
    return 1, 0, utf16(key)


def json_text(value: Any) -> str:
    """Canonical JSON text (section 2.4): no blanks, keys sorted at every level, None as `null`.

    Args:
        value: plain data, models, moments, UUIDs; members that are `NOT_GIVEN` are left out.

    Raises:
        InvalidRequestError: a number is not finite.
        TypeError: a key is no text, or a value is of another type.
    """
    if isinstance(value, str):
        return string_json(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number_text(value)
    if isinstance(value, Mapping):
        return _object_json(value)
    if isinstance(value, (list, tuple)):
        return f"[{','.join(json_text(item) for item in value if item is not NOT_GIVEN)}]"
    if isinstance(value, datetime):
        return string_json(moment_text(value))
    if isinstance(value, UUID):
        return string_json(str(value))
    if isinstance(value, Model):
        return _object_json({name: getattr(value, name) for name in value.__struct_fields__})
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _object_json(members: Mapping[Any, Any]) -> str:
    keys: list[str] = []
    for key, value in members.items():
        if not isinstance(key, str):
            raise TypeError(f"a member's name must be text, not {key!r}")
        if value is not NOT_GIVEN:
            keys.append(key)
    keys.sort(key=key_order)
    return f"{{{','.join(f'{string_json(key)}:{json_text(members[key])}' for key in keys)}}}"


def canonical_json(value: Any) -> bytes:
    """The bytes of a JSON body as they are hashed and sent, in UTF-8; see `json_text`.

    Example:
        >>> canonical_json({"z": 1.0, "a": None, "10": True, "9": "é"}).decode()
        '{"9":"é","10":true,"a":null,"z":1}'
    """
    return json_text(value).encode()
