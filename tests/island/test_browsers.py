"""Pages in browsers: whose may call the island, and what their browsers are told."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from skerry.errors import ConfigurationError
from skerry.island.app import App
from skerry.island.asgi import Receive, Scope, Send
from skerry.island.browsers import own_origin
from skerry.island.clock import SystemClock
from skerry.island.engine.engine import Engine
from skerry.island.gateway import Face
from skerry.island.settings import Settings

pytestmark = pytest.mark.anyio
APP = "https://app.example"
ASKING = {"access-control-request-method": "POST"}


class Network:
    """A face that says yes to everything."""

    name = "network"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})

    def recognises(self, scope: Scope) -> bool:
        return False

    async def tunnel(self, label: str, port: int) -> None:
        return None


class Asking:
    """An island, as far as it looks at origins."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        chosen = Settings(data_dir=directory, **settings)
        engine = cast("Engine", SimpleNamespace(settings=chosen, clock=SystemClock()))
        self._app = App(engine, [cast("Face", Network())])

    async def ask(
        self,
        method: str,
        origin: str | None,
        host: str = "127.0.0.1:4242",
        path: str = "/network/x",
        **more: str,
    ) -> tuple[int, dict[str, str]]:
        """What becomes of a request, or of a WebSocket's handshake, and the headers of its answer."""
        fields = {"host": host, **({} if origin is None else {"origin": origin}), **more}
        scope = {
            "type": "websocket" if method == "WS" else "http",
            "method": method,
            "scheme": "http",
            "server": ("127.0.0.1", 4242),
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
            "extensions": {"websocket.http.response": {}},
        }
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "websocket.connect" if method == "WS" else "http.request"}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        if sent[0]["type"] == "websocket.accept":
            return 101, {}
        found = sent[0]["headers"]
        return sent[0]["status"], {name.decode(): value.decode() for name, value in found}


async def test_pages_of_any_origin(tmp_path: Path) -> None:
    island = Asking(tmp_path)
    for origin in (APP, "null", "http://evil.example"):
        status, told = await island.ask("POST", origin)
        assert (status, told["access-control-allow-origin"], "vary" in told) == (200, "*", False)
        assert (await island.ask("OPTIONS", origin, **ASKING))[0] == 204
        assert (await island.ask("WS", origin))[0] == 101


@pytest.mark.parametrize("host", ["127.0.0.1:4242", "network.localhost:4242"])
async def test_pages_of_some_origins(tmp_path: Path, host: str) -> None:
    island, path = Asking(tmp_path, origins=(APP, "http://localhost:3000")), "/network/x"
    for origin in (APP, "http://localhost:3000"):
        status, told = await island.ask("POST", origin, host, path)
        assert (status, told["access-control-allow-origin"], told["vary"]) == (200, origin, "Origin")
        status, told = await island.ask("OPTIONS", origin, host, path, **ASKING)
        assert (status, told["access-control-allow-origin"], told["vary"]) == (204, origin, "Origin")
        assert "POST" in told["access-control-allow-methods"]
        assert (await island.ask("WS", origin, host, path))[0] == 101
    # Others are refused, whatever they send and wherever; also pages of applications in sandboxes.
    for origin in ("http://app.example", f"{APP}.evil", "null", "http://8000-vm.localhost:4242", "http://["):
        for method, more in (("GET", {}), ("POST", {}), ("OPTIONS", ASKING), ("WS", {})):
            for where in (path, "/", "/_island/v1/runs"):
                status, told = await island.ask(method, origin, host, where, **more)
                assert (status, "access-control-allow-origin" in told) == (403, False)
    # Programs are no pages, and the island's own pages are its own.
    status, told = await island.ask("POST", None, host, path)
    assert (status, told) == (200, {"vary": "Origin"})
    for method, answer in (("POST", 200), ("WS", 101)):
        assert (await island.ask(method, f"http://{host}", host, path))[0] == answer


async def test_a_name_that_was_made_to_lead_here(tmp_path: Path) -> None:
    names = ["evil.example:4242", "localhost.evil.example:4242", "127.0.0.1.evil.example"]
    for name in names:
        assert (await Asking(tmp_path, origins=()).ask("POST", f"http://{name}", name))[0] == 403
    mine = Asking(tmp_path, origins=(), public_host="island.example:4242")
    assert (await mine.ask("POST", "http://island.example:4242", "island.example:4242"))[0] == 200
    assert (await mine.ask("POST", "http://[::1]:4242", "[::1]:4242"))[0] == 200


async def test_applications_in_sandboxes_let_in_whom_they_like(tmp_path: Path) -> None:
    # There is none behind this name, which is not the same as being refused.
    assert (await Asking(tmp_path, origins=()).ask("GET", APP, "8000-vm.localhost:4242"))[0] == 404


def test_origins_are_compared_as_browsers_write_them() -> None:
    given = "HTTPS://App.Example:443/, http://[::1]:80,http://x.test:8080,tauri://localhost"
    found = Settings.from_env({"SKERRY_ORIGINS": given}).origins
    assert found == ("https://app.example", "http://[::1]", "http://x.test:8080", "tauri://localhost")
    assert Settings.from_env({"SKERRY_ORIGINS": given}, origins=("*",)).origins == ("*",)
    assert (Settings.from_env({}).origins, Settings.from_env({"SKERRY_ORIGINS": "off"}).origins) == (("*",), ())
    for text in (
        "app.example",
        "https://",
        "https://a.example/path",
        "https://u@a.example",
        "https://a b",
        "x",
        "http://[",
    ):
        with pytest.raises(ConfigurationError, match="SKERRY_ORIGINS"):
            Settings.from_env({"SKERRY_ORIGINS": text})
        with pytest.raises(ConfigurationError, match="is no web origin"):
            Settings(data_dir=Path("x"), origins=(text,))


def test_an_origin_is_compared_with_the_host() -> None:
    def asks(origin: str | None, host: str | None = "octaspace.localhost:1") -> bool:
        fields = {b"origin": origin, b"host": host}
        return own_origin({"headers": [(name, value.encode()) for name, value in fields.items() if value is not None]})

    assert asks(None)
    assert asks("http://octaspace.localhost:1")
    assert asks("https://OCTASPACE.localhost:1")
    assert not asks("http://octaspace.localhost")
    assert not asks("http://octaspace.localhost:1", None)
    assert not asks("ws://octaspace.localhost:1")
