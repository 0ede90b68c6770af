"""A process with models loaded, to be killed: prints the processes of these, and waits.

python survivor.py DIRECTORY MODEL [GPU...]
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.island.llm.llm_lab import opened


async def main() -> None:
    """Load a model for jobs and one for a server, say which processes they are, and stay."""
    directory, model, *gpus = sys.argv[1:]
    async with opened(Path(directory), "tiny", gpus=[int(gpu) for gpu in gpus]) as workers:
        await workers.complete(model, "x", max_tokens=1)
        await workers.serve("job-1", "tiny")
        print(*(one.pid for one in workers.loaded()), flush=True)
        going = asyncio.create_task(workers.complete("tiny", "x", max_tokens=2000))
        await asyncio.sleep(3600)
        await going


asyncio.run(main())
