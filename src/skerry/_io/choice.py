"""From what a user hands in as `transport` to something that carries requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from skerry._io._async.httpx import AsyncHttpxTransport
from skerry._io._sync.httpx import HttpxTransport
from skerry._io.httpx_support import is_httpx2_client
from skerry._io.transport import AsyncTransport, Transport
from skerry.errors import ConfigurationError

if TYPE_CHECKING:
    import httpx2


def async_transport_for(value: AsyncTransport | httpx2.AsyncClient | None) -> AsyncTransport:
    """The transport itself, one over the given httpx2 client, or the default one.

    Raises:
        ConfigurationError: the value cannot carry requests.
    """
    if value is None:
        return AsyncHttpxTransport()
    if is_httpx2_client(value, asynchronous=True):
        return AsyncHttpxTransport(cast("httpx2.AsyncClient", value))
    if all(callable(getattr(value, name, None)) for name in ("send", "stream", "aclose")):
        return cast("AsyncTransport", value)
    raise ConfigurationError("transport must be an httpx2.AsyncClient or have send, stream and aclose")


def transport_for(value: Transport | httpx2.Client | None) -> Transport:
    """The transport itself, one over the given httpx2 client, or the default one.

    Raises:
        ConfigurationError: the value cannot carry requests.
    """
    if value is None:
        return HttpxTransport()
    if is_httpx2_client(value, asynchronous=False):
        return HttpxTransport(cast("httpx2.Client", value))
    if all(callable(getattr(value, name, None)) for name in ("send", "stream", "close")):
        return cast("Transport", value)
    raise ConfigurationError("transport must be an httpx2.Client or have send, stream and close")
