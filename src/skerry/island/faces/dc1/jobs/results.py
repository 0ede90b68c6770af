"""What a program wrote as its result: the JSON behind the last marker that begins a line (section 3.4.2). Pure."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

from skerry.island.faces.dc1 import wire
from skerry.island.provider.task_specs import MARKER

_FORMAT = re.compile(r"[a-z0-9][a-z0-9+.\-]{0,30}")
_LEAST_BYTES_PER_PIXEL = 0.05
_MOST_DEPTH = 100
TEXT_MEMBERS = (
    "prompt",
    "response",
    "model",
    "tokens_generated",
    "tokens_per_second",
    "gen_time_s",
    "total_time_s",
    "device",
)
IMAGE_MEMBERS = ("width", "height", "steps", "prompt", "model", "seed", "gen_time_s", "total_time_s", "device")


def marked(stdout: str) -> dict[str, Any] | None:
    """The object behind the last marker; None when there is none, and when it is no JSON object that can be sent.

    The object runs to the end of the output or, where more was written after it, to the end of its line.

    Example:
        >>> marked('loading\\nDC1_RESULT_JSON:{"device": "cuda:0"}\\n')
        {'device': 'cuda:0'}
    """
    # Searched for as a plain text: a pattern would hold everybody up where the output is long.
    start = stdout.rfind("\n" + MARKER) + 1
    if not stdout.startswith(MARKER, start):
        return None
    rest = stdout[start + len(MARKER) :]
    value = _object(rest)
    return _object(rest.partition("\n")[0]) if value is None else value


def whole(stdout: str) -> dict[str, Any] | None:
    """The object that the output is as a whole, as hosts report it that send objects; None for anything else."""
    return _object(stdout) if stdout.lstrip().startswith("{") else None


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that a program drew.

    Args:
        told: the members of the marker's object.
        content: the file; None when it is no base64.
        base64: as it was written.
    """

    told: dict[str, Any]
    content: bytes | None
    base64: str

    @property
    def format(self) -> str:
        """Such as `png`."""
        found = self.told.get("format")
        return found.lower() if isinstance(found, str) and _FORMAT.fullmatch(found.lower()) else "png"

    @property
    def least_bytes(self) -> int:
        """What a picture of its size has at least."""
        width, height = (_size(self.told.get(name)) for name in ("width", "height"))
        return int(width * height * _LEAST_BYTES_PER_PIXEL)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, as far as can be told without looking at pixels."""
        return self.content is not None and len(self.content) >= self.least_bytes

    @property
    def members(self) -> dict[str, Any]:
        """What is told of it, without its content."""
        head = {"type": "image", "format": self.format}
        return {**head, **{name: self.told[name] for name in IMAGE_MEMBERS if name in self.told}}


def picture(told: dict[str, Any]) -> Picture | None:
    """The image that a marker's object holds; None when it holds none."""
    data = next((told[name] for name in ("data", "image_base64") if isinstance(told.get(name), str)), None)
    if told.get("type") != "image" or data is None:
        return None
    text = data.partition(",")[2] if data.startswith("data:") else data
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        content = None
    return Picture(told, content or None, text)


def _object(text: str) -> dict[str, Any] | None:
    raw = text.strip().encode("utf-8", "surrogatepass")
    if wire.too_many(raw):
        return None
    try:
        value = wire.decode(raw)
    except wire.Unreadable:
        return None
    # Deeper than this it could be read and not be written again.
    return value if isinstance(value, dict) and _depth(value) <= _MOST_DEPTH else None


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        inner = [item for item in level if isinstance(item, dict | list)]
        level = [part for item in inner for part in (item.values() if isinstance(item, dict) else item)]
    return depth


def _size(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 100_000 else 0
