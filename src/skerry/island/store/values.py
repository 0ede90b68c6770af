"""How records are written down: moments as microseconds, structures as JSON text, money as decimal text."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from skerry.island.sandbox.spec import Limits, NetworkPolicy, Volume
from skerry.money import Money

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_limits = msgspec.json.Decoder(Limits)
_policy = msgspec.json.Decoder(NetworkPolicy)
_volumes = msgspec.json.Decoder(tuple[Volume, ...])
_labels = msgspec.json.Decoder(dict[str, str])


def micros(moment: datetime) -> int:
    """Microseconds since 1970 in UTC."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """The aware moment of a number of microseconds."""
    return _EPOCH + timedelta(microseconds=value)


def maybe_moment(value: int | None) -> datetime | None:
    """As `moment`; None stays None."""
    return None if value is None else moment(value)


def encode(value: Any) -> str:
    """A structure as JSON text."""
    return msgspec.json.encode(value).decode()


def decode_limits(text: str) -> Limits:
    """Limits from JSON text."""
    return _limits.decode(text)


def decode_policy(text: str) -> NetworkPolicy:
    """A network policy from JSON text."""
    return _policy.decode(text)


def decode_labels(text: str) -> dict[str, str]:
    """Labels from JSON text."""
    return {} if text == "{}" else _labels.decode(text)


def decode_volumes(text: str) -> tuple[Volume, ...]:
    """Volumes from JSON text."""
    return () if text == "[]" else _volumes.decode(text)


def encode_words(value: Any) -> str:
    """JSON in ASCII, which also carries text with undecodable bytes (surrogate escapes)."""
    return json.dumps(value)


def decode_words(text: str) -> Any:
    """The reverse of `encode_words`."""
    return json.loads(text)


def maybe_money(amount: str | None, currency: str) -> Money | None:
    """Money from decimal text; None stays None."""
    return None if amount is None else Money(int(amount), currency)
