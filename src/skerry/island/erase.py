"""Remove a data directory with everything that lives on it."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import stat
from pathlib import Path

from skerry.errors import ConfigurationError
from skerry.island.lock import DataDirectoryLock
from skerry.island.settings import Settings

_PROVIDER = "provider"

_log = logging.getLogger("skerry.island.erase")


def erase(directory: Path) -> None:
    """End every sandbox and relay that a dead server left behind, then delete the directory.

    Raises:
        ConfigurationError: a living server uses it, or something in it cannot be removed.
    """
    if not directory.exists():
        return
    with DataDirectoryLock(directory):
        # A provider that works for a platform elsewhere has an engine of its own in there.
        if (directory / _PROVIDER / "lock").exists():
            with DataDirectoryLock(directory / _PROVIDER):
                asyncio.run(_end_sandboxes(directory / _PROVIDER))
        asyncio.run(_end_sandboxes(directory))
        asyncio.run(_end_relays(directory))
        remove_tree(directory)


async def _end_sandboxes(directory: Path) -> None:
    if not (directory / "sandboxes").is_dir():
        return
    from skerry.island.images.store import ImageStore
    from skerry.island.sandbox.driver import SandboxError
    from skerry.island.sandbox.select import choose_driver

    images = ImageStore(directory / "images")
    # Whichever of them made the sandboxes finds them; to the other they are mere directories.
    for name in ("namespace", "process"):
        driver = choose_driver(Settings(data_dir=directory, driver=name), directory, images, None)
        try:
            await driver.start()
        except SandboxError as error:
            _log.debug("the %s driver has nothing to end here: %s", name, error)
            continue
        await driver.stop(kill=True)


async def _end_relays(directory: Path) -> None:
    if not (directory / "relays").is_dir():
        return
    from skerry.island.clock import SystemClock
    from skerry.island.workers.vpn import RelayError, Relays

    try:
        await Relays(directory / "relays", "127.0.0.1", None, SystemClock()).recover(())
    except RelayError as error:
        raise ConfigurationError(str(error)) from None


def remove_tree(directory: Path) -> None:
    """Delete a directory, also where sandboxes left it with modes that forbid that.

    Raises:
        ConfigurationError: something cannot be removed.
    """
    try:
        try:
            shutil.rmtree(directory)
        except PermissionError:
            for place, _, _ in os.walk(directory):
                for name in os.listdir(place):
                    _open_up(os.path.join(place, name))
            shutil.rmtree(directory)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(f"{error.filename or directory} cannot be removed: {error.strerror}") from None


def _open_up(path: str) -> None:
    mode = os.lstat(path).st_mode
    if stat.S_ISDIR(mode):
        os.chmod(path, stat.S_IMODE(mode) | stat.S_IRWXU)
