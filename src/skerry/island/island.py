"""An island as an object: for tests, notebooks and programs that bring their own network."""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from skerry.errors import ConfigurationError
from skerry.island import environment, libraries
from skerry.island.clock import Clock
from skerry.island.settings import Settings

if TYPE_CHECKING:
    from skerry.island.admin.client import Admin
    from skerry.island.server import RunningServer
    from skerry.networks.arker import Arker, AsyncArker
    from skerry.networks.dc1 import DC1, AsyncDC1
    from skerry.networks.dispersed import AsyncDispersed, Dispersed
    from skerry.networks.octaspace import AsyncOctaSpace, OctaSpace


class Island:
    """A whole network in this process, gone when the block ends.

    Args:
        data_dir: where it lives; a temporary directory, removed at the end, when None.
        port: TCP port on loopback, 0 for any free one.
        clock: replaces the machine's time.
        driver: `auto`, `namespace` or `process`, or an object that replaces the sandbox driver.
        images: replaces the image store.
        settings: any other field of `Settings`.

    Example:
        >>> with Island() as island:  # doctest: +SKIP
        ...     print(island.arker().vm("ubuntu").fork().run("echo hello").stdout)
    """

    def __init__(
        self,
        data_dir: Path | str | None = None,
        *,
        port: int = 0,
        clock: Clock | None = None,
        driver: Any = None,
        images: Any = None,
        **settings: Any,
    ) -> None:
        self._given = None if data_dir is None else Path(data_dir)
        self._port = port
        named = {"driver": driver} if isinstance(driver, str) else {}
        self._means = {"clock": clock, "driver": None if named else driver, "images": images}
        self._choices = {**settings, **named}
        self._temporary: Path | None = None
        self._running: RunningServer | None = None
        self._settings: Settings | None = None
        self._orphaned = False

    @property
    def data_dir(self) -> Path:
        """Where everything lives."""
        return self._live_settings.data_dir

    @property
    def url(self) -> str:
        """Where it answers, without a path."""
        return self._server.url

    @property
    def engine(self) -> Any:
        """The engine, to look inside; use it only through `call`."""
        return self._server.server.engine

    @property
    def running(self) -> bool:
        """Whether it answers."""
        return self._running is not None

    def base_url(self, network: str) -> str:
        """What a client of that network takes as its base URL."""
        return f"{self.url}/{network}"

    def key(self, network: str) -> str:
        """The API key of the first account for a network.

        Raises:
            ConfigurationError: the island has no key for it.
        """
        keys = self._keys
        try:
            return keys[network]
        except KeyError:
            raise ConfigurationError(f"this island has no key for {network!r}; it has {', '.join(keys)}") from None

    def env(self) -> dict[str, str]:
        """The variables that point programs at this island."""
        return environment.variables(self.url, self._keys)

    def arker(self, **options: Any) -> Arker:
        """A client bound to this island; close it, or use it as a context manager."""
        from skerry.networks.arker import Arker

        return Arker(**{**self._client_settings("arker"), **options})

    def async_arker(self, **options: Any) -> AsyncArker:
        """The same for asynchronous programs."""
        from skerry.networks.arker import AsyncArker

        return AsyncArker(**{**self._client_settings("arker"), **options})

    def dispersed(self, **options: Any) -> Dispersed:
        """A client of Dispersed bound to this island; close it, or use it as a context manager.

        Raises:
            ConfigurationError: this island does not speak Dispersed.
        """
        from skerry.networks.dispersed import Dispersed

        return Dispersed(**{**self._client_settings("dispersed"), **options})

    def async_dispersed(self, **options: Any) -> AsyncDispersed:
        """The same for asynchronous programs."""
        from skerry.networks.dispersed import AsyncDispersed

        return AsyncDispersed(**{**self._client_settings("dispersed"), **options})

    def octaspace(self, **options: Any) -> OctaSpace:
        """A client of OctaSpace bound to this island; close it, or use it as a context manager.

        Raises:
            ConfigurationError: this island does not speak OctaSpace.
        """
        from skerry.networks.octaspace import OctaSpace

        return OctaSpace(**{**self._client_settings("octaspace"), **options})

    def async_octaspace(self, **options: Any) -> AsyncOctaSpace:
        """The same for asynchronous programs."""
        from skerry.networks.octaspace import AsyncOctaSpace

        return AsyncOctaSpace(**{**self._client_settings("octaspace"), **options})

    def dc1(self, **options: Any) -> DC1:
        """A client of DC1 bound to this island; close it, or use it as a context manager.

        It asks as the first renter, and for `admin` as the operator.

        Raises:
            ConfigurationError: this island does not speak DC1.
        """
        from skerry.networks.dc1 import DC1

        return DC1(**{**self._operator_settings("dc1"), **options})

    def async_dc1(self, **options: Any) -> AsyncDC1:
        """The same for asynchronous programs."""
        from skerry.networks.dc1 import AsyncDC1

        return AsyncDC1(**{**self._operator_settings("dc1"), **options})

    def admin(self) -> Admin:
        """A client of the owner's API: images, runs with their cost and barriers, live logs."""
        from skerry.island.admin.auth import owner_key
        from skerry.island.admin.client import Admin

        return Admin(self.url, owner_key(self.data_dir))

    def _client_settings(self, network: str) -> dict[str, Any]:
        return environment.client_settings(network, self.url, self._keys)

    def _operator_settings(self, network: str) -> dict[str, Any]:
        from skerry.island.admin.auth import owner_key

        return {**self._client_settings(network), "admin_token": owner_key(self.data_dir)}

    @property
    def _keys(self) -> dict[str, str]:
        # A face whose network has keys of another kind, such as pairs, keeps its own in the file: what it says is what
        # every other program reads.
        kept: dict[str, str] = json.loads((self.data_dir / "credentials.json").read_text())["keys"]
        return {**self.engine.credentials, **kept}

    def start(self) -> Island:
        """Begin to answer; after `stop` or `kill`, on the same data and port.

        Raises:
            ConfigurationError: the island extra is not installed, or a setting cannot be used.
        """
        if self._running is not None:
            return self
        libraries.require()
        from skerry.island.server import Means, start_in_thread

        if self._settings is None:
            if self._given is None:
                self._temporary = Path(tempfile.mkdtemp(prefix="skerry-"))
            home = self._given or self._temporary
            self._settings = Settings.from_env({}, data_dir=home, port=self._port, **self._choices)
        try:
            self._running = start_in_thread(self._settings, means=Means(**self._means))
        except BaseException:
            self._discard()
            raise
        self._orphaned = False
        # A restart must be found where clients know it to be.
        self._settings = replace(self._settings, port=self._running.port)
        return self

    def stop(self) -> None:
        """End gracefully and remove a temporary data directory."""
        try:
            self._halt()
        finally:
            self._discard()

    def restart(self) -> Island:
        """Stop gracefully and begin again on the same data."""
        self._halt()
        return self.start()

    def _halt(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.stop()

    def kill(self) -> None:
        """End as if the machine's owner had killed the process: nothing is said, agents live on; `start` finds them."""
        running, self._running = self._running, None
        if running is not None:
            self._orphaned = True
            running.crash()

    def reset(self) -> None:
        """Delete every sandbox of every account; keys, images and the port stay."""
        self.call(self._delete_sandboxes())

    async def _delete_sandboxes(self) -> None:
        for account in await self.engine.accounts.list():
            found, _ = await self.engine.sandboxes.list(account.id)
            for sandbox in found:
                await self.engine.sandboxes.delete(account.id, sandbox.id)

    def call(self, coroutine: Any, timeout: float | None = 60.0) -> Any:
        """Run a coroutine on the island's own event loop and return its result."""
        return self._server.call(coroutine, timeout)

    def _discard(self) -> None:
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            self._settings = None
            from skerry.island.erase import erase, remove_tree

            # Only a crash leaves processes behind that have to be found and ended first.
            (erase if self._orphaned else remove_tree)(temporary)

    @property
    def _server(self) -> RunningServer:
        if self._running is None:
            raise ConfigurationError("this island is not running; use it in a with block or call start()")
        return self._running

    @property
    def _live_settings(self) -> Settings:
        if self._settings is None:
            raise ConfigurationError("this island is not running; use it in a with block or call start()")
        return self._settings

    def __enter__(self) -> Island:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Island:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)
