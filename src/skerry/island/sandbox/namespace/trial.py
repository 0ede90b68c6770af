"""One sandbox put up and taken down again, because nothing short of that tells whether it works on a machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path

from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.namespace.driver import NamespaceDriver
from skerry.island.sandbox.spec import SandboxSpec

_PROGRAMS = ((Path("/usr"), "/usr"),)
_DIRECTORIES = ("dev", "etc", "home", "proc", "tmp", "usr", "var")
_known: dict[tuple[int, int], str | None] = {}


def namespaces_fail(state_dir: Path) -> str | None:
    """Why the `namespace` driver cannot work with this state directory; None if it works.

    Tried once per file system and user in the life of a process. Blocks for about a tenth of a second.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = (state_dir.stat().st_dev, os.geteuid())
    if key not in _known:
        outcome: list[str | None] = []
        # A loop of its own, since the caller may stand in one.
        thread = threading.Thread(target=lambda: outcome.append(asyncio.run(_try(state_dir))), name="skerry-trial")
        thread.start()
        thread.join()
        _known[key] = outcome[0] if outcome else "the trial itself failed"
    return _known[key]


async def _try(state_dir: Path) -> str | None:
    # Always the same place: should we be killed meanwhile, the next trial ends what this one left alive.
    directory = state_dir / "trial"
    for name in _DIRECTORIES:
        (directory / "image" / name).mkdir(parents=True, exist_ok=True)
    driver = NamespaceDriver(directory / "state", _Images(directory / "image"))
    try:
        await driver.start()
        for left in await driver.ids():
            await driver.remove(left)
        await driver.create(SandboxSpec(id="trial", image="trial"))
        await driver.open("trial")
        await driver.remove("trial")
    except (SandboxError, OSError) as error:
        return str(error)
    finally:
        await driver.stop()
        shutil.rmtree(directory, ignore_errors=True)
    return None


@dataclass(slots=True)
class _Root:
    directory: Path
    binds: tuple[tuple[Path, str], ...]
    env: dict[str, str] = field(default_factory=dict)


class _Images:
    """The machine's programs under an empty root."""

    def __init__(self, directory: Path) -> None:
        self._root = _Root(directory, _PROGRAMS)

    def rootfs(self, image_id: str) -> _Root:
        return self._root
