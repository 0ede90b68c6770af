"""Moments, numbers and identifiers as texts of the wire."""

from __future__ import annotations

from uuid import UUID

from skerry.island.store.values import moment
from skerry.times import rfc3339


def iso(micros: int) -> str:
    """A moment in UTC with milliseconds, such as `2026-03-22T19:30:00.000Z`.

    Args:
        micros: microseconds since 1970.
    """
    return rfc3339(moment(micros)).removesuffix("+00:00") + "Z"


def maybe_iso(micros: int | None) -> str | None:
    """As `iso`; None stays None."""
    return None if micros is None else iso(micros)


def digits(text: str, most: int = 10) -> int | None:
    """A number written in at most so many ASCII digits; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= most else None


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID in its usual form, in either case."""
    try:
        return len(text) == 36 and str(UUID(text)) == text.lower()
    except ValueError:
        return False
