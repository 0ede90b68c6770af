"""The first account's plain keys, in a file that only the owner of the data directory can read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

from skerry.island.store.layout import write_private

NAME = "credentials.json"


class Credentials:
    """What `credentials.json` says.

    Attributes:
        account: id of the first account; empty until it is known.
        keys: plain keys by name; the name is a network's, or a network's with a word behind it.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / NAME
        self._lock = asyncio.Lock()
        self.account, self.keys = _read(self._path)

    def forget(self, account: str) -> None:
        """Begin anew for another account; nothing is written before the next `keep`."""
        self.account = account
        self.keys.clear()

    async def keep(self, keys: Mapping[str, str]) -> None:
        """Write keys down; when this returns they are on the disk, so they may be accepted."""
        async with self._lock:
            complete = {**self.keys, **keys}
            content = json.dumps({"account": self.account, "keys": complete}, indent=2).encode()
            if (self.account, complete) != await asyncio.to_thread(_read, self._path):
                await asyncio.to_thread(write_private, self._path, content)
            self.keys.update(complete)


def _read(path: Path) -> tuple[str, dict[str, str]]:
    try:
        content = json.loads(path.read_bytes())
        account, keys = content["account"], content["keys"]
    except (OSError, ValueError, KeyError, TypeError):
        return "", {}
    if not isinstance(account, str) or not isinstance(keys, dict):
        return "", {}
    return account, {name: key for name, key in keys.items() if isinstance(key, str)}
