"""The island as a server: in the foreground, in a thread, or as `python -m skerry.island.server`."""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import contextlib
import gc
import ipaddress
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from skerry.errors import ConfigurationError, SkerryError
from skerry.island.admin.auth import owner_key
from skerry.island.clock import Clock
from skerry.island.erase import erase
from skerry.island.lock import DataDirectoryLock
from skerry.island.promptness import be_prompt
from skerry.island.settings import Settings
from skerry.island.store.layout import explained

__all__ = ["Means", "RunningServer", "Server", "bind", "erase", "main", "serve", "start_in_thread", "url_of"]

STATE_FILE = "server.json"
_log = logging.getLogger("skerry.island.server")


Ready = Callable[["Server"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What tests may replace; None stands for the real thing."""

    clock: Clock | None = None
    driver: Any = None
    images: Any = None


def bind(settings: Settings) -> socket.socket:
    """The listening address, taken before anything else is started.

    Raises:
        ConfigurationError: the address is not loopback and remote access was not allowed, or it is not free.
    """
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"the host {settings.host!r} is no address of this machine: {error}") from None
    family, _, _, _, address = found[0]
    if not settings.allow_remote and not ipaddress.ip_address(address[0]).is_loopback:
        raise ConfigurationError(
            f"{settings.host} can be reached by other machines, and whoever holds a key there can run commands here; "
            "say so with allow_remote (--allow-remote), or stay on 127.0.0.1"
        )
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by what is accepted: head and body leave in two writes, and the second must not wait for an
        # acknowledgement of the first.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(1024)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            "another port works, and 0 takes any free one (--port 0)"
        ) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """The URL by which this machine reaches a listening socket."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server:
    """One island being served: a lock, an engine, an application and a socket, opened and closed in that order.

    Args:
        settings: the owner's choices.
        means: replacements for tests.
        listener: an already listening socket; made from the settings otherwise.
    """

    def __init__(
        self, settings: Settings, *, means: Means | None = None, listener: socket.socket | None = None
    ) -> None:
        self.settings = settings
        self.means = means or Means()
        self.url = ""
        self.engine: Any = None
        self.app: Any = None
        self._listener = listener
        self._uvicorn: Any = None
        self._stopping = False
        self._crashing = False

    async def run(self, on_ready: Ready | None = None) -> None:
        """Serve until stopped.

        Args:
            on_ready: called once requests are answered.

        Raises:
            ConfigurationError: the settings, the data directory or the address cannot be used; nothing was left behind.
        """
        be_prompt()
        with DataDirectoryLock(self.settings.data_dir):
            listener = self._listener or bind(self.settings)
            try:
                await self._open_engine()
                try:
                    await self._serve(listener, on_ready)
                finally:
                    if self._crashing:
                        await self.engine.crash()
                    else:
                        await self.engine.close()
            finally:
                listener.close()

    async def _open_engine(self) -> None:
        from skerry.island.engine.engine import Engine
        from skerry.island.sandbox.driver import SandboxError

        with self._startable():
            # The command line reads it to tell this island from a stranger on the same port.
            owner_key(self.settings.data_dir)
            try:
                self.engine = await Engine.open(
                    self.settings, clock=self.means.clock, driver=self.means.driver, images=self.means.images
                )
            except SandboxError as error:
                raise ConfigurationError(
                    f"sandboxes cannot be made on this machine: {error}; see skerry doctor"
                ) from error

    async def _serve(self, listener: socket.socket, on_ready: Ready | None) -> None:
        import uvicorn

        from skerry.island.app import create_app
        from skerry.island.protocol import AnnouncedServer, BoundedHttpProtocol, RefusableWebSocketProtocol

        # What it says for information has whole URLs, with the tickets in their queries.
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        self.url = url_of(listener)
        self.app = create_app(self.engine)
        self._uvicorn = AnnouncedServer(
            uvicorn.Config(
                self.app,
                loop="none",
                http=BoundedHttpProtocol,
                ws=RefusableWebSocketProtocol,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=self.settings.public_host is not None,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=max(1, round(self.settings.drain)),
            )
        )
        if self._stopping:
            self._uvicorn.end()
        async with contextlib.AsyncExitStack() as stack:
            with self._startable():
                await stack.enter_async_context(self.app.running())
                stack.enter_context(self._state_file())
            watch = asyncio.create_task(self._watch(on_ready))
            try:
                await self._uvicorn.serve(sockets=[listener])
            finally:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)

    async def _watch(self, on_ready: Ready | None) -> None:
        """Tell when the server answers; end it when it was idle for long enough."""
        await self._uvicorn.answering.wait()
        if on_ready is not None:
            # In a thread, because it may well want to ask the server something.
            await asyncio.to_thread(on_ready, self)
        limit = self.settings.idle_exit
        if limit is None:
            return
        clock = self.engine.clock
        while True:
            await clock.sleep(max(0.05, min(5.0, limit / 4)))
            if self.engine.connections:
                self.app.last_active = clock.monotonic()
            quiet = clock.monotonic() - self.app.last_active
            if self.app.active == 0 and quiet >= limit and not await self.app.busy():
                _log.info("idle for %.0f s: stopping", quiet)
                self.stop()
                return

    @contextlib.contextmanager
    def _startable(self) -> Iterator[None]:
        """What a start comes to that fails for a reason of the machine's, such as a full disk, and not by a defect."""
        from skerry.island.engine.errors import Unavailable

        try:
            yield
        except OSError as error:
            raise explained(error, self.settings.data_dir) from error
        except Unavailable as error:
            raise ConfigurationError(error.message) from error

    @contextlib.contextmanager
    def _state_file(self) -> Iterator[None]:
        path = self.settings.data_dir / STATE_FILE
        state = {
            "pid": os.getpid(),
            "url": self.url,
            "started_at": self.engine.clock.now().isoformat(),
            "version": version("skerry"),
            "idle_exit": self.settings.idle_exit,
            "origins": self.settings.origins,
        }
        fresh = path.with_name(f".{STATE_FILE}.{os.getpid()}")
        fresh.write_text(json.dumps(state) + "\n")
        fresh.replace(path)
        try:
            yield
        finally:
            if not self._crashing:
                path.unlink(missing_ok=True)

    def stop(self) -> None:
        """Ask for a graceful end: no new requests, running ones get `drain` seconds; from the server's own thread."""
        self._stopping = True
        if self._uvicorn is not None:
            self._uvicorn.end()

    def crash(self) -> None:
        """End as if the process had been killed: agents live on, nothing is tidied up. For tests."""
        self._crashing = True
        if self._uvicorn is not None:
            self._uvicorn.config.timeout_graceful_shutdown = 0
        self.stop()


def serve(settings: Settings, *, on_ready: Ready | None = None) -> None:
    """Serve in the foreground until SIGTERM, SIGINT, idleness, or the end of the terminal.

    Args:
        settings: the owner's choices.
        on_ready: called, in a thread, once requests are answered.

    Raises:
        ConfigurationError: the settings, the data directory or the address cannot be used.
    """
    import uvloop

    server = Server(settings)
    # uvicorn passes a caught signal on to whoever was there before it; that must not end the process half-way.
    numbers = _ending_signals()
    previous = {number: signal.signal(number, _ignore) for number in numbers}
    # What a start loads and makes stays: to look for rubbish in it, again and again while it grows, finds none.
    gc.disable()

    def ready(server: Server) -> None:
        gc.freeze()
        gc.enable()
        if on_ready is not None:
            on_ready(server)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_foreground(server, ready, numbers))
    finally:
        gc.enable()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _ending_signals() -> list[signal.Signals]:
    numbers = [signal.SIGTERM, signal.SIGINT]
    # Under nohup(1) the end of the terminal is not ours.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        numbers.append(signal.SIGHUP)
    return numbers


def _ignore(number: int, frame: object) -> None:
    return


async def _foreground(server: Server, on_ready: Ready, numbers: Sequence[signal.Signals]) -> None:
    loop = asyncio.get_running_loop()
    # Until uvicorn has its own handlers (and after it), a signal must still lead to an orderly end.
    for number in numbers:
        loop.add_signal_handler(number, server.stop)
    await server.run(on_ready)


@dataclass(slots=True)
class RunningServer:
    """A server in a thread of its own.

    Attributes:
        url: where it answers.
        port: its TCP port.
        server: the server; touch it only through `call`.
    """

    url: str
    port: int
    server: Server
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread
    failure: concurrent.futures.Future[None]

    def call(self, coroutine: Any, timeout: float | None = 60.0) -> Any:
        """Run a coroutine on the server's loop and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def stop(self, timeout: float | None = 60.0) -> None:
        """End gracefully; raises what the server itself raised."""
        self._end(self.server.stop, timeout)

    def crash(self, timeout: float | None = 60.0) -> None:
        """End as if killed; see `Server.crash`."""
        self._end(self.server.crash, timeout)

    def _end(self, how: Callable[[], None], timeout: float | None) -> None:
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(how)
        self.thread.join(timeout)
        if self.thread.is_alive():
            raise SkerryError("the island did not stop in time")
        self.failure.result(0)


def start_in_thread(settings: Settings, *, means: Means | None = None) -> RunningServer:
    """Serve in a new thread with its own event loop; returns once requests are answered.

    Raises:
        ConfigurationError: the settings, the data directory or the address cannot be used.
    """
    import uvloop

    started: concurrent.futures.Future[asyncio.AbstractEventLoop] = concurrent.futures.Future()
    ended: concurrent.futures.Future[None] = concurrent.futures.Future()
    server = Server(settings, means=means)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await server.run(lambda _: started.set_result(loop))

    def work() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(main())
        except BaseException as error:
            # The thread is nobody's child: what went wrong is handed to whoever waits for its start or its end.
            if not started.done():
                started.set_exception(error)
                ended.set_result(None)
            else:
                ended.set_exception(error)
        else:
            if not started.done():
                started.set_exception(SkerryError("the island stopped before it had started"))
            ended.set_result(None)

    thread = threading.Thread(target=work, name=f"island:{settings.data_dir.name}", daemon=True)
    thread.start()
    try:
        loop = started.result()
    except BaseException:
        thread.join()
        raise
    return RunningServer(server.url, int(server.url.rpartition(":")[2]), server, loop, thread, ended)


def main(arguments: list[str] | None = None) -> int:
    """Entry of `python -m skerry.island.server`; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m skerry.island.server", description="Serve an island.")
    parser.add_argument("--data-dir", type=Path, help="where everything lives")
    parser.add_argument("--host", help="address to bind (127.0.0.1)")
    parser.add_argument("--port", type=int, help="TCP port, 0 for any free one (4242)")
    parser.add_argument("--allow-remote", action="store_true", default=None, help="serve other machines too")
    parser.add_argument("--public-host", help="host name in URLs that clients follow")
    parser.add_argument("--origin", action="append", dest="origins", help="whose pages may call; once for each")
    parser.add_argument("--driver", choices=("auto", "namespace", "process"), help="how sandboxes are isolated")
    parser.add_argument("--idle-exit", type=float, metavar="SECONDS", help="stop after this long without work")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    given = vars(parser.parse_args(arguments))
    logging.basicConfig(
        stream=sys.stderr,
        level=given.pop("log_level").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # Which plugins a library has is nobody's news.
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    try:
        serve(Settings.from_env(**given), on_ready=lambda server: _log.info("the island answers at %s", server.url))
    except SkerryError as error:
        sys.stderr.write(f"skerry: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
