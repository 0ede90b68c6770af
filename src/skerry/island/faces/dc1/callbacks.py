"""Which callbacks follow when a job has ended (section 5.9): rows, written in the transaction that ended it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row


def job_ended(connection: Connection, job: Row[Any], now: int) -> None:
    """Note what its renter wants to be told of a job that has just ended.

    Args:
        job: its row as it is since.
        now: microseconds since 1970.
    """
