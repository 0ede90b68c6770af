"""Columns that tables of every network have."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column


def stamps() -> tuple[Column[int], Column[int]]:
    """When a row was made, and when it was changed last, microseconds since 1970."""
    return Column("created_at", BigInteger, nullable=False), Column("updated_at", BigInteger, nullable=False)
