"""How bytes travel as text (section 2.3)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from skerry.networks.arker.codes import protocol_error

_BLANKS = re.compile(r"[\t\n\f\r ]+")
_URL_SAFE = str.maketrans("-_", "+/")


def decode_text(text: Any, encoding: Any) -> bytes:
    """The bytes behind a text field: `base64` is decoded, any other encoding means the text's own UTF-8.

    Blanks and missing padding are forgiven, and so is the alphabet for URLs.

    Raises:
        ArkerProtocolError: the text is not base64 although it is said to be.
    """
    if not isinstance(text, str):
        return b""
    if encoding != "base64":
        try:
            return text.encode()
        except UnicodeEncodeError:
            # Half of a surrogate pair has no UTF-8; the replacement character stands for it, as in browsers.
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
    packed = _BLANKS.sub("", text).translate(_URL_SAFE).rstrip("=")
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise protocol_error("a field marked as base64 does not hold base64") from None


def listed(value: Any) -> list[Any]:
    """A list that was asked for; whatever else came in its place counts as an empty one."""
    return value if isinstance(value, list) else []


def encode_content(data: bytes) -> str:
    """The base64 text of bytes."""
    return base64.b64encode(data).decode("ascii")
