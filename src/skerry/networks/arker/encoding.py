"""How bytes travel as text (section 2.3)."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from skerry.networks.arker.codes import protocol_error


def decode_text(text: Any, encoding: Any) -> bytes:
    """The bytes behind a text field: `base64` is decoded, any other encoding means the text's own UTF-8.

    Raises:
        ArkerProtocolError: the text is not base64 although it is said to be.
    """
    if not isinstance(text, str):
        return b""
    if encoding != "base64":
        return text.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise protocol_error("a field marked as base64 does not hold base64") from None


def encode_content(data: bytes) -> str:
    """The base64 text of bytes."""
    return base64.b64encode(data).decode("ascii")
