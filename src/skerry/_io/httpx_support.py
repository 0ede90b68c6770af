"""What both halves of the httpx2 transport share: TLS contexts, headers, and what a failure means."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from skerry._kernel.request import BodySource, Request, TransportFailure
from skerry.errors import ConfigurationError

if TYPE_CHECKING:
    import ssl

    import httpx2

MAX_CONNECTIONS = 100
# The cost of choosing a connection grows with the number of idle ones.
KEEPALIVE_CONNECTIONS = 20
CONNECT_SECONDS = 10.0
_COUNTED = 1e9
"""Seconds that every system can count in its own terms, three decades."""
# What is on this machine is asked itself, whatever HTTP_PROXY says: a proxy elsewhere cannot reach it, and must not see
# its keys. In httpx2's terms: hosts, and no transport but the plain one.
DIRECT: dict[str, None] = dict.fromkeys(("all://localhost", "all://*.localhost", "all://127.0.0.0/8", "all://[::1]"))

_CERTIFICATE_HINT = "; trust comes from the system (install ca-certificates, or point SSL_CERT_FILE at a bundle)"


@lru_cache(maxsize=2)
def tls_context(scheme: str) -> ssl.SSLContext:
    """One TLS context per process: loading the system's trust takes longer than many requests.

    Args:
        scheme: for `http` no trust is loaded, and nothing could be verified with it.
    """
    import ssl

    import httpx2

    return httpx2.create_ssl_context() if scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@lru_cache(maxsize=1)
def user_agent() -> str:
    """Who is calling, such as `skerry/0.1.0 python/3.11`."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        ours = version("skerry")
    except PackageNotFoundError:
        ours = "0"
    return f"skerry/{ours} python/{sys.version_info.major}.{sys.version_info.minor}"


def scheme_of(url: str) -> str:
    """`https` or `http`.

    Raises:
        TransportFailure: the URL is not an absolute one of these two.
    """
    scheme = url.partition(":")[0].lower()
    if scheme not in ("https", "http") or "://" not in url:
        raise TransportFailure("the URL must start with http:// or https://", "never_sent")
    return scheme


def wire_headers(request: Request) -> list[tuple[str, str]]:
    """The request's headers and those any HTTP client adds."""
    headers = list(request.headers)
    present = {name for name, _ in headers}
    if "user-agent" not in present:
        headers.append(("user-agent", user_agent()))
    if "accept" not in present:
        headers.append(("accept", "*/*"))
    if isinstance(request.body, BodySource):
        headers.append(("content-length", str(request.body.length)))
    return headers


def limits_of(timeout: float | None) -> dict[str, float | None]:
    """The time limits of each phase, in httpx2's own terms."""
    connect = CONNECT_SECONDS if timeout is None else min(CONNECT_SECONDS, timeout)
    # More than the system can count is no limit.
    longest = None if timeout is None or timeout > _COUNTED else timeout
    return {"connect": connect, "read": longest, "write": longest, "pool": longest}


def failure_of(error: Exception) -> TransportFailure:
    """What an httpx2 error means for retrying and for the user."""
    import httpx2

    kind: Literal["never_sent", "broken", "timeout"] = "broken"
    never_sent = (
        httpx2.ConnectError,
        httpx2.ConnectTimeout,
        httpx2.PoolTimeout,
        httpx2.ProxyError,
        httpx2.UnsupportedProtocol,
        httpx2.LocalProtocolError,
        httpx2.InvalidURL,
    )
    if isinstance(error, never_sent):
        kind = "never_sent"
    elif isinstance(error, httpx2.TimeoutException):
        kind = "timeout"
    text = str(error) or _PLAIN_WORDS.get(type(error).__name__, type(error).__name__)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        text += _CERTIFICATE_HINT
    failure = TransportFailure(text, kind)
    failure.timed_out = isinstance(error, httpx2.TimeoutException)
    return failure


_PLAIN_WORDS = {
    "ConnectTimeout": "no connection in time",
    "PoolTimeout": "no free connection in time",
    "ReadTimeout": "no answer in time",
    "WriteTimeout": "the request could not be sent in time",
    "ReadError": "the connection broke while the answer was read",
    "WriteError": "the connection broke while the request was sent",
    "ConnectError": "no connection",
}


def lower_headers(headers: httpx2.Headers) -> tuple[tuple[str, str], ...]:
    """Headers as our pairs, repeated ones included."""
    return tuple((name.lower(), value) for name, value in headers.multi_items())


def is_httpx2_client(value: Any, *, asynchronous: bool) -> bool:
    """Whether the value is an httpx2 client of the right kind, found out without importing httpx2.

    Raises:
        ConfigurationError: it is one of the other kind, or of the older httpx library.
    """
    wanted, other = ("AsyncClient", "Client") if asynchronous else ("Client", "AsyncClient")
    names = {(base.__module__.partition(".")[0], base.__name__) for base in type(value).__mro__}
    if ("httpx2", wanted) in names:
        return True
    if ("httpx2", other) in names:
        raise ConfigurationError(f"this client needs an httpx2.{wanted}, not an httpx2.{other}")
    if ("httpx", "Client") in names or ("httpx", "AsyncClient") in names:
        raise ConfigurationError(f"this client needs an httpx2.{wanted}; clients of the older httpx do not fit")
    return False
