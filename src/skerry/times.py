"""Time at the surface: aware UTC datetimes, and durations as seconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from skerry.errors import InvalidRequestError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def utc_now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """Format an aware moment as RFC 3339 in UTC with milliseconds and a numeric offset.

    Example:
        >>> rfc3339(datetime(2026, 5, 8, 18, 23, 45, 166000, tzinfo=UTC))
        '2026-05-08T18:23:45.166+00:00'
    """
    if moment.tzinfo is None:
        raise InvalidRequestError("a naive datetime has no place on the wire; attach a time zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def parse_moment(text: str) -> datetime:
    """An aware moment from ISO 8601 text, a bare date included; without an offset it is taken to be UTC.

    Raises:
        InvalidRequestError: it is neither a date nor a date with a time.

    Example:
        >>> parse_moment("2026-05-08").isoformat()
        '2026-05-08T00:00:00+00:00'
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidRequestError(f"{text!r} is not a moment; write 2026-05-08T18:23:45Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def parse_duration(value: str | float | timedelta) -> float:
    """Seconds from a number, a `timedelta` or text such as `90`, `500ms`, `15m` or `1h30m`.

    Raises:
        InvalidRequestError: the text is no duration or is negative.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, str):
        text = value.strip().lower()
        parts = _DURATION.findall(text)
        if parts and "".join(number + unit for number, unit in parts) == text:
            seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        else:
            try:
                seconds = float(text)
            except ValueError:
                raise InvalidRequestError(f"{value!r} is not a duration; write 90, 500ms, 15m or 1h30m") from None
    else:
        seconds = float(value)
    if not 0 <= seconds < float("inf"):
        raise InvalidRequestError(f"a duration must be finite and not negative, not {value!r}")
    return seconds
