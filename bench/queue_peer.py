"""A job queue that can run beside the island: huey over SQLite, each job a fresh process, behind bubblewrap or bare."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

WORKERS = 4
# A task is known by its module's name, which must not be `__main__`.
_WORK = "from bench.queue_peer import main; main()"


def jobs_per_second(arguments: list[str], count: int) -> float:
    """Enqueue `count` jobs that each run `arguments`, and wait for all their results."""
    from huey import SqliteHuey

    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder:
        database = str(Path(folder) / "huey.db")
        consumer = subprocess.Popen([sys.executable, "-c", _WORK, database, json.dumps(arguments)])
        try:
            queue = SqliteHuey("bench", filename=database)
            task = _task(queue, arguments)
            task().get(blocking=True, timeout=30)
            start = time.perf_counter()
            results = [task() for _ in range(count)]
            for result in results:
                if result.get(blocking=True, timeout=600, backoff=1, max_delay=0.01) != 0:
                    raise RuntimeError("a job of the peer failed")
            return count / (time.perf_counter() - start)
        finally:
            consumer.terminate()
            with suppress(subprocess.TimeoutExpired):
                consumer.wait(30)


def _task(queue, arguments: list[str]):  # type: ignore[no-untyped-def]
    @queue.task(name="command")
    def command() -> int:
        return subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode

    return command


def main() -> None:
    """Work on the queue until terminated."""
    from huey import SqliteHuey

    queue = SqliteHuey("bench", filename=sys.argv[1])
    _task(queue, json.loads(sys.argv[2]))
    queue.create_consumer(workers=WORKERS, periodic=False, max_delay=0.01, initial_delay=0.005).run()
