"""A node's logs: an archive of what the island and its sessions wrote about it (protocol section 3.4)."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import re
import tarfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry._kernel.redaction import MASK, redact_url
from skerry.island.admin.auth import NAME as OWNER_KEY
from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace.call import Call, Route
from skerry.island.faces.octaspace.nodes import node_rows
from skerry.island.faces.octaspace.nodes.hardware import Hardware
from skerry.island.faces.octaspace.nodes.node_ident import BYTES, UNCACHED, attachment
from skerry.island.faces.octaspace.nodes.nodes import moment_text
from skerry.island.faces.octaspace.tables import events, sessions
from skerry.island.ground.answers import Answer

SERVER_LOG = "server.log"
MOST_BYTES = 2 << 20
"""Of each log."""

MOST_EVENTS = 5_000
_SECOND = 1_000_000
# Keys of this network have no mark of their own; digests of images look the same, and say what they are.
_KEY = re.compile(r"(?<![0-9A-Za-z:])[0-9a-f]{64}(?![0-9A-Za-z])")


class NodeLogs:
    """Packs the logs of nodes.

    Args:
        engine: open.
        hardware: of this machine.
    """

    def __init__(self, engine: Engine, hardware: Hardware) -> None:
        self._engine = engine
        self._hardware = hardware

    def routes(self) -> list[Route]:
        """What it answers."""
        return [
            Route(
                method="GET",
                path="/nodes/{node_id}/logs",
                handler=self.logs,
                summary="A node's logs, a compressed tar archive",
                faults=(404,),
            )
        ]

    async def logs(self, call: Call, node_id: str) -> Answer:
        """GET /nodes/{id}/logs."""
        node, told = await self._engine.store.read(_read, self._engine, call.account_id, node_id)
        content = await asyncio.to_thread(self._pack, node, told, call.now)
        return Answer(content, media=BYTES, headers=(attachment(f"node-{node.id}-logs.tar.gz"), UNCACHED))

    def _pack(self, node: Row[Any], told: list[Row[Any]], now: int) -> bytes:
        secrets = self._secrets(node)
        lines = [f"{moment_text(event.at)} {event.session_uuid} {line}\n" for event in told for line in _lines(event)]
        files = {
            "node.json": json.dumps(self._hardware.detail(node, now), indent=2) + "\n",
            "system.log": cleaned(ending("".join(lines).encode(errors="replace"), MOST_BYTES), secrets),
        }
        # The server's own log tells of every account of the island, and is for the one that the island belongs to.
        if node.account_id == self._engine.account_id:
            written = tail(self._engine.settings.data_dir / SERVER_LOG, MOST_BYTES)
            files[SERVER_LOG] = cleaned(written, secrets)
        return archive(files, now // _SECOND)

    def _secrets(self, node: Row[Any]) -> set[str]:
        found = {value for value in self._engine.credentials.values() if value}
        found.add(self._engine.vault.open(node.ident, node_rows.ident_context(node.id)).decode())
        try:
            found.add((self._engine.settings.data_dir / OWNER_KEY).read_text().strip())
        except OSError:
            pass
        return found


def _read(connection: Connection, engine: Engine, account_id: str, node_id: str) -> tuple[Row[Any], list[Row[Any]]]:
    node = node_rows.own(connection, engine, account_id, node_id, acts=False)
    query = (
        select(events.c.session_uuid, events.c.message, events.c.at)
        .join(sessions, sessions.c.uuid == events.c.session_uuid)
        .where(sessions.c.node_id == node.id)
        .order_by(events.c.id.desc())
        .limit(MOST_EVENTS)
    )
    told: list[Row[Any]] = [*connection.execute(query)]
    return node, told[::-1]


def _lines(event: Row[Any]) -> Iterable[str]:
    return event.message.splitlines()  # type: ignore[no-any-return]


def cleaned(text: str, secrets: Collection[str]) -> str:
    """A log without keys, tokens and passwords in URLs.

    Args:
        text: of a log.
        secrets: what must not stand in it, whatever it looks like.
    """
    # The longest first, so that no part of one is left when another is its beginning.
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return "".join(_KEY.sub(MASK, redact_url(line)) for line in text.splitlines(keepends=True))


def tail(path: Path, most: int) -> str:
    """The last whole lines of a file, of at most so many bytes; nothing where there is none."""
    try:
        with path.open("rb") as file:
            # One byte more tells whether the first line is whole.
            file.seek(max(0, file.seek(0, io.SEEK_END) - most - 1))
            return ending(file.read(most + 1), most)
    except OSError:
        return ""


def ending(text: bytes, most: int) -> str:
    """The last whole lines of a text, of at most so many bytes."""
    if len(text) > most:
        # From the byte before on: where that ends a line, what follows is a whole one.
        start = text.find(b"\n", len(text) - most - 1)
        text = b"" if start < 0 else text[start + 1 :]
    return text.decode("utf-8", "replace")


def archive(files: dict[str, str], at: int) -> bytes:
    """A compressed tar archive of texts.

    Args:
        files: contents by name.
        at: when they are of, seconds since 1970.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, text in files.items():
            content = text.encode("utf-8", "replace")
            member = tarfile.TarInfo(f"logs/{name}")
            member.size, member.mtime, member.mode = len(content), at, 0o644
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), 6, mtime=at)
