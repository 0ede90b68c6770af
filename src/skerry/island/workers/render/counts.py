"""How many frames were rendered here, kept by the hour, so that jobs can be forgotten and their frames stay counted."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

from skerry.island.workers.render.values import FrameCounts

_HOUR = 3600


def add(db: sqlite3.Connection, now: datetime) -> None:
    """Count one frame."""
    db.execute(
        "INSERT INTO tally (hour, frames) VALUES (?, 1) ON CONFLICT (hour) DO UPDATE SET frames = frames + 1",
        (int(now.timestamp()) // _HOUR,),
    )


def read(db: sqlite3.Connection, now: datetime) -> FrameCounts:
    """The counts as of now."""
    rows: list[tuple[int, int]] = db.execute("SELECT hour, frames FROM tally ORDER BY hour").fetchall()
    since = int(now.timestamp()) // _HOUR - 24
    weeks: dict[str, int] = {}
    for hour, frames in rows:
        day = datetime.fromtimestamp(hour * _HOUR, UTC).date()
        monday = (day - timedelta(days=day.weekday())).isoformat()
        weeks[monday] = weeks.get(monday, 0) + frames
    return FrameCounts(
        total=sum(frames for _, frames in rows),
        last_day=sum(frames for hour, frames in rows if hour > since),
        by_week=weeks,
    )
