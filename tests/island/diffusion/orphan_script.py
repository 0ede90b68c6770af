"""An island that draws a picture that never ends, to be killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.island.diffusion.diffusion_lab import workers_of


async def main() -> None:
    async with workers_of(Path(sys.argv[1])) as workers:
        await workers.generate("org/model", sys.argv[2], on_phase=lambda phase: print(phase, flush=True))


asyncio.run(main())
