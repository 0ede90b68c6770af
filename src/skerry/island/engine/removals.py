"""Sandboxes that shall go, for as long as it takes: a full disk refuses even the word that one is gone."""

from __future__ import annotations

import logging

from skerry.island.engine.core import Core
from skerry.island.engine.errors import EngineError, NotFound
from skerry.island.engine.sandboxes import Sandboxes
from skerry.island.sandbox.driver import SandboxError

log = logging.getLogger("skerry.engine")


class Removals:
    """Removes what nobody needs any more, now or later; what a killed server leaves is found by reconciling."""

    def __init__(self, core: Core, sandboxes: Sandboxes) -> None:
        self._core = core
        self._sandboxes = sandboxes
        self._wanted: dict[str, str] = {}

    async def discard(self, account_id: str, id: str) -> bool:
        """Delete a sandbox; when that cannot be done now, upkeep does it later. Returns whether there was one."""
        try:
            await self._sandboxes.delete(account_id, id)
        except NotFound:
            return False
        except EngineError as error:
            log.warning("sandbox %s cannot be removed now; it is tried again: %s", id, error)
            self._wanted[id] = account_id
        return True

    async def again(self) -> None:
        """Try what could not be removed before."""
        for id, account_id in list(self._wanted.items()):
            try:
                await self._sandboxes.delete(account_id, id)
            except NotFound:
                pass
            except EngineError as error:
                log.info("sandbox %s still cannot be removed: %s", id, error)
                continue
            self._wanted.pop(id, None)
        for id in list(self._sandboxes.remains):
            try:
                await self._core.driver.remove(id)
            except SandboxError as error:
                if error.reason != "unknown_sandbox":
                    log.info("what is left of sandbox %s still cannot be removed: %s", id, error)
                    continue
            self._sandboxes.remains.discard(id)
