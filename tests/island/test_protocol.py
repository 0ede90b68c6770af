"""The HTTP server beneath the island."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
import uvicorn

from skerry.island.protocol import AnnouncedServer

pytestmark = pytest.mark.anyio


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nobody asks")


async def test_it_neither_looks_at_the_clock_nor_waits_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def timer(*_: object) -> None:
        raise AssertionError("a timer")

    monkeypatch.setattr(asyncio, "sleep", timer)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = AnnouncedServer(uvicorn.Config(nothing, loop="none", lifespan="off", log_config=None))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await server.answering.wait()
        server.end()
        await serving
        assert listener.fileno() == -1


async def test_whoever_is_connected_is_let_go() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(nothing, loop="none", lifespan="off", log_config=None, timeout_graceful_shutdown=60)
        server = AnnouncedServer(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await server.answering.wait()
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        while not server.server_state.connections:
            await asyncio.sleep(0.01)
        server.end()
        assert await reader.read() == b""
        await serving
        writer.close()
        await writer.wait_closed()
