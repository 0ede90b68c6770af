"""What is to be rendered, by whom, and how far it is: one SQLite file, each change a transaction."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from skerry.island.workers.render import counts
from skerry.island.workers.render.formats import EXTENSIONS
from skerry.island.workers.render.values import (
    Claim,
    FrameCounts,
    RenderFrame,
    RenderJob,
    RenderSpec,
    WorkerRecord,
)

T = TypeVar("T")

MOST_TRIES = 3
_MOST_AT_ONCE = 250
_OPEN = "state IN ('queued', 'rendering')"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS workers (id TEXT PRIMARY KEY, queue TEXT NOT NULL, record TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, queue TEXT NOT NULL, name TEXT NOT NULL, spec TEXT NOT NULL,
    scene TEXT NOT NULL, state TEXT NOT NULL, error TEXT, extension TEXT, created_at INTEGER NOT NULL, ended_at INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_of_queue ON jobs (queue, state);
CREATE TABLE IF NOT EXISTS frames (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE, number INTEGER NOT NULL, state TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0, error TEXT, PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (
    id TEXT PRIMARY KEY, job TEXT NOT NULL REFERENCES jobs (id), worker TEXT NOT NULL, lane INTEGER NOT NULL,
    frames TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS tally (hour INTEGER PRIMARY KEY, frames INTEGER NOT NULL) STRICT;
"""


class Book:
    """Calls are short, and made in threads of the event loop's; `do` runs one of the functions below whole.

    Args:
        path: the SQLite file; made when missing.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        path.touch(mode=0o600)
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000;"
        )
        self._connection.executescript(_SCHEMA)

    async def do(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function of this module as one transaction; it is carried through even if the caller goes away."""
        return await asyncio.shield(asyncio.to_thread(self.now, function, *args))

    def now(self, function: Callable[..., T], *args: Any) -> T:
        """The same, without leaving the thread."""
        with self._lock, _transaction(self._connection):
            return function(self._connection, *args)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def add_job(
    db: sqlite3.Connection, id: str, queue: str, name: str, spec: RenderSpec, scene: str, now: datetime
) -> RenderJob:
    """Accept a job; `scene` is what its package was found to be. Raises `sqlite3.IntegrityError` for a taken id."""
    text = msgspec.json.encode(spec).decode()
    extension = None if spec.format is None else EXTENSIONS[spec.format]
    db.execute(
        "INSERT INTO jobs (id, queue, name, spec, scene, state, extension, created_at)"
        " VALUES (?, ?, ?, ?, ?, 'queued', ?, ?)",
        (id, queue, name, text, scene, extension, _micros(now)),
    )
    db.executemany(
        "INSERT INTO frames (job, number, state) VALUES (?, ?, 'waiting')", ((id, number) for number in spec.frames())
    )
    found = job(db, id)
    assert found is not None
    return found


def job(db: sqlite3.Connection, id: str) -> RenderJob | None:
    """One job."""
    return next(_jobs(db, "id = ?", id), None)


def jobs(db: sqlite3.Connection, queue: str | None) -> list[RenderJob]:
    """The jobs of a queue, or all, oldest first."""
    return list(_jobs(db, "1" if queue is None else "queue = ?", *(() if queue is None else (queue,))))


def scene(db: sqlite3.Connection, id: str) -> str:
    """What was said of a job's package when it was accepted."""
    text: str = db.execute("SELECT scene FROM jobs WHERE id = ?", (id,)).fetchone()[0]
    return text


def frames(db: sqlite3.Connection, id: str) -> list[RenderFrame]:
    """The frames of a job, in order."""
    rows = db.execute("SELECT number, state, tries, error FROM frames WHERE job = ? ORDER BY number", (id,))
    return [RenderFrame(number=number, state=state, tries=tries, error=error) for number, state, tries, error in rows]


def cancel_job(db: sqlite3.Connection, id: str, now: datetime) -> bool:
    """Let nothing more of a job begin; False when it was over already."""
    changed = db.execute(
        f"UPDATE jobs SET state = 'cancelled', ended_at = ? WHERE id = ? AND {_OPEN}",  # noqa: S608 - our own text
        (_micros(now), id),
    )
    return changed.rowcount == 1


def remove_job(db: sqlite3.Connection, id: str) -> None:
    """Forget a job that nothing renders any more; what was rendered stays counted."""
    db.execute("DELETE FROM jobs WHERE id = ?", (id,))


def put_worker(db: sqlite3.Connection, worker: WorkerRecord) -> WorkerRecord:
    """Enter a worker; the one that is there already under its id, if there is one."""
    text = msgspec.json.encode(worker).decode()
    db.execute("INSERT OR IGNORE INTO workers (id, queue, record) VALUES (?, ?, ?)", (worker.id, worker.queue, text))
    (kept,) = db.execute("SELECT record FROM workers WHERE id = ?", (worker.id,)).fetchone()
    return msgspec.json.decode(kept, type=WorkerRecord)


def workers(db: sqlite3.Connection) -> list[WorkerRecord]:
    """Every worker."""
    rows = db.execute("SELECT record FROM workers ORDER BY id").fetchall()
    return [msgspec.json.decode(text, type=WorkerRecord) for (text,) in rows]


def remove_worker(db: sqlite3.Connection, id: str) -> None:
    """Forget a worker."""
    db.execute("DELETE FROM workers WHERE id = ?", (id,))


def claim(db: sqlite3.Connection, claim_id: str, worker_id: str, lane: int, sharers: int) -> Claim | None:
    """Take frames of the oldest job of a worker's queue that has some; None when nothing waits.

    Args:
        claim_id: names the claim, and the sandbox of its frames.
        worker_id, lane: who takes them.
        sharers: lanes that work on this queue; each leaves the others their part.
    """
    found = db.execute(
        "SELECT jobs.id, jobs.spec, count(*) FROM jobs JOIN workers ON workers.queue = jobs.queue"
        " JOIN frames ON frames.job = jobs.id AND frames.state = 'waiting'"
        " WHERE workers.id = ? AND jobs.state IN ('queued', 'rendering') GROUP BY jobs.id ORDER BY jobs.number LIMIT 1",
        (worker_id,),
    ).fetchone()
    if found is None:
        return None
    job_id, text, waiting = found
    spec = msgspec.json.decode(text, type=RenderSpec)
    share = waiting if sharers <= 1 else -(-waiting // (2 * sharers))
    most = min(share, spec.batch or share, _MOST_AT_ONCE)
    taken = tuple(
        number
        for (number,) in db.execute(
            "SELECT number FROM frames WHERE job = ? AND state = 'waiting' ORDER BY number LIMIT ?", (job_id, most)
        )
    )
    db.executemany(
        "UPDATE frames SET state = 'rendering' WHERE job = ? AND number = ?", ((job_id, number) for number in taken)
    )
    db.execute("UPDATE jobs SET state = 'rendering' WHERE id = ?", (job_id,))
    db.execute(
        "INSERT INTO claims (id, job, worker, lane, frames) VALUES (?, ?, ?, ?, ?)",
        (claim_id, job_id, worker_id, lane, json.dumps(taken)),
    )
    return Claim(id=claim_id, job_id=job_id, worker_id=worker_id, lane=lane, frames=taken)


def claims(db: sqlite3.Connection, worker_id: str | None = None) -> list[Claim]:
    """What is taken and not given back, by a worker or by all."""
    rows = db.execute(
        "SELECT id, job, worker, lane, frames FROM claims WHERE ?1 IS NULL OR worker = ?1 ORDER BY rowid", (worker_id,)
    )
    return [
        Claim(id=id, job_id=job_id, worker_id=worker, lane=lane, frames=tuple(json.loads(numbers)))
        for id, job_id, worker, lane, numbers in rows
    ]


def settle_extension(db: sqlite3.Connection, job_id: str, extension: str) -> bool:
    """Let the frames of a job have this extension; False when it has been settled that they have another."""
    db.execute("UPDATE jobs SET extension = coalesce(extension, ?) WHERE id = ?", (extension, job_id))
    found = db.execute("SELECT extension FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return bool(found == (extension,))


def frame_done(db: sqlite3.Connection, job_id: str, number: int, now: datetime) -> bool:
    """Count a frame whose file is in its place; False when it was counted before."""
    changed = db.execute(
        "UPDATE frames SET state = 'done', error = NULL WHERE job = ? AND number = ? AND state != 'done'",
        (job_id, number),
    )
    if not changed.rowcount:
        return False
    counts.add(db, now)
    return True


def settle(
    db: sqlite3.Connection, done: Claim, blamed: Mapping[int, str], hopeless: str | None, now: datetime
) -> RenderJob | None:
    """Give a claim back: what it did not render waits again, or has failed; the job as it stands then.

    Args:
        done: the claim; one that was given back before changes nothing.
        blamed: frames that failed, and why.
        hopeless: why nothing of the job can be rendered.
        now: the present.
    """
    if not db.execute("DELETE FROM claims WHERE id = ?", (done.id,)).rowcount:
        return job(db, done.job_id)
    for number in done.frames:
        why = blamed.get(number)
        db.execute(
            "UPDATE frames SET tries = tries + ?1, error = coalesce(?2, error),"
            " state = CASE WHEN tries + ?1 >= ?3 THEN 'failed' ELSE 'waiting' END"
            " WHERE job = ?4 AND number = ?5 AND state = 'rendering'",
            (int(why is not None), why, MOST_TRIES, done.job_id, number),
        )
    if hopeless is not None:
        db.execute(
            "UPDATE frames SET state = 'failed' WHERE job = ? AND state IN ('waiting', 'rendering')", (done.job_id,)
        )
        db.execute("UPDATE jobs SET error = ? WHERE id = ?", (hopeless, done.job_id))
    _end_if_over(db, done.job_id, now)
    return job(db, done.job_id)


def frame_counts(db: sqlite3.Connection, now: datetime) -> FrameCounts:
    """What was rendered here, ever."""
    return counts.read(db, now)


def unknown_jobs(db: sqlite3.Connection, names: Collection[str]) -> list[str]:
    """Those of the names that no job has."""
    known = {id for (id,) in db.execute("SELECT id FROM jobs")}
    return [name for name in names if name not in known]


def _end_if_over(db: sqlite3.Connection, job_id: str, now: datetime) -> None:
    left, failed, why = db.execute(
        "SELECT sum(state IN ('waiting', 'rendering')), sum(state = 'failed'),"
        " max(CASE WHEN state = 'failed' THEN error END) FROM frames WHERE job = ?",
        (job_id,),
    ).fetchone()
    # Whoever has rendered the last frames has yet to say how that went.
    if left or db.execute("SELECT 1 FROM claims WHERE job = ? LIMIT 1", (job_id,)).fetchone():
        return
    db.execute(
        f"UPDATE jobs SET state = ?, error = coalesce(error, ?), ended_at = ? WHERE id = ? AND {_OPEN}",  # noqa: S608
        ("failed" if failed else "finished", why if failed else None, _micros(now), job_id),
    )


def _jobs(db: sqlite3.Connection, where: str, *values: str) -> Iterator[RenderJob]:
    rows = db.execute(
        "SELECT id, queue, name, spec, state, error, extension, created_at, ended_at,"  # noqa: S608 - our own text
        " (SELECT count(*) FROM frames WHERE job = jobs.id),"
        " (SELECT count(*) FROM frames WHERE job = jobs.id AND state = 'done'),"
        " (SELECT count(*) FROM frames WHERE job = jobs.id AND state = 'failed')"
        f" FROM jobs WHERE {where} ORDER BY number",
        values,
    ).fetchall()
    for id, queue, name, text, state, error, extension, created, ended, total, done, failed in rows:
        yield RenderJob(
            id=id,
            queue=queue,
            name=name,
            spec=msgspec.json.decode(text, type=RenderSpec),
            state=state,
            total=total,
            done=done,
            failed=failed,
            error=error,
            extension=extension,
            created_at=_moment(created),
            ended_at=None if ended is None else _moment(ended),
        )


def _micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def _moment(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / 1_000_000, UTC)
