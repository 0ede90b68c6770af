"""What the resources of the client share: sending with merged options, and a key where one is needed."""

from __future__ import annotations

from typing import TypeVar

from skerry._io._async.driver import AsyncDriver
from skerry._kernel.dialect import Call
from skerry._kernel.options import RequestOptions
from skerry._kernel.request import BodySink
from skerry.networks.octaspace.config import API_KEY_VARIABLE, Config
from skerry.networks.octaspace.errors import OctaAuthenticationError
from skerry.networks.octaspace.inputs import CallOptions
from skerry.networks.octaspace.options import call_options

T = TypeVar("T")


class AsyncResource:
    """A group of calls of one client."""

    def __init__(self, driver: AsyncDriver, config: Config) -> None:
        self._driver = driver
        self._config = config

    @property
    def _base_url(self) -> str:
        return self._config.base_url

    async def _send(
        self, call: Call[T], options: RequestOptions | None, given: CallOptions, into: BodySink | None = None
    ) -> T:
        chosen = call_options(options, given)
        if call.operation.auth and self._config.require_api_key and not self._config.api_key:
            error = OctaAuthenticationError(
                "apiKey is required for authenticated endpoints",
                network="octaspace",
                operation=call.operation.name,
                status=401,
                outcome="not_sent",
            )
            error.add_note(f"pass api_key, or set {API_KEY_VARIABLE} and make the client with from_env()")
            raise error
        return await self._driver.send(call, chosen, into)
