"""What the clients of all networks are: holders of connections, which end with them."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from skerry._io.choice import async_transport_for
from skerry._io.transport import AsyncTransport

if TYPE_CHECKING:
    import httpx2


class AsyncConnected:
    """A client's hold on its transport; as a context manager it closes itself."""

    _transport: AsyncTransport
    _owns_transport: bool

    def _connect(self, transport: AsyncTransport | httpx2.AsyncClient | None) -> None:
        self._transport = async_transport_for(transport)
        # A transport that was handed in is the caller's to close.
        self._owns_transport = self._transport is not transport

    def _share(self, other: AsyncConnected) -> None:
        self._transport = other._transport
        self._owns_transport = False

    async def aclose(self) -> None:
        """Let go of the connections; a transport that was handed in is left alone."""
        if self._owns_transport:
            await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
