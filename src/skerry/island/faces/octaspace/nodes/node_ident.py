"""A node's ident file: the credential by which its daemon is known (protocol section 7.3)."""

from __future__ import annotations

from sqlalchemy import Row

from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace.call import Call, Route
from skerry.island.faces.octaspace.nodes import node_rows
from skerry.island.faces.octaspace.nodes.erlang_terms import term_to_binary
from skerry.island.ground.answers import Answer

BYTES = "application/octet-stream"


class NodeIdent:
    """Hands out ident files.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Route]:
        """What it answers."""
        return [
            Route(
                method="GET",
                path="/nodes/{node_id}/ident",
                handler=self.ident,
                summary="A node's ident file",
                faults=(404,),
            )
        ]

    async def ident(self, call: Call, node_id: str) -> Answer:
        """GET /nodes/{id}/ident."""
        node = await self._engine.store.read(node_rows.own, self._engine, call.account_id, node_id, acts=False)
        content = ident_file(self._token(node))
        return Answer(content, media=BYTES, headers=(attachment(f"node-{node.id}.ident"), UNCACHED))

    def _token(self, node: Row[bytes]) -> str:
        return self._engine.vault.open(node.ident, node_rows.ident_context(node.id)).decode()


UNCACHED = (b"cache-control", b"no-store")


def ident_file(token: str) -> bytes:
    """The file of a node with this token: what its registration was answered with, as the daemon keeps it."""
    return term_to_binary({"token": token}, compressed=True)


def attachment(name: str) -> tuple[bytes, bytes]:
    """The header that names a download."""
    return b"content-disposition", f'attachment; filename="{name}"'.encode()
