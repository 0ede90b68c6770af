"""What goes out and what comes back, as frozen values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from skerry.errors import InvalidRequestError

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class BodySource:
    """A body too large to hold: opened afresh for every try, so that a repeat sends the same bytes.

    Attributes:
        open: gives the chunks from the beginning.
        length: how many bytes that will be.
    """

    open: Callable[[], Iterator[bytes]]
    length: int


Body = bytes | BodySource | None


class BodySink(Protocol):
    """Where the body of a success goes while it arrives, when it may be too large to hold."""

    def begin(self) -> object:
        """Start afresh: a try before this one may have left something."""
        ...

    def write(self, chunk: bytes) -> object:
        """Take the next piece."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """One try of one call.

    Attributes:
        method: upper-case HTTP method.
        url: absolute, already encoded; sent byte for byte.
        headers: name and value pairs, names in lower case.
        body: bytes, a replayable source, or None for no body at all.
        operation: name of the operation, such as `vms.fork`.
        attempt: 1 for the first try.
        timeout: seconds this try may take in all; None for no limit.
        secret: the URL itself is a credential (a presigned URL) and must never be shown.
    """

    method: str
    url: str
    headers: Headers = ()
    body: Body = None
    operation: str = ""
    attempt: int = 1
    timeout: float | None = None
    secret: bool = False

    def header(self, name: str) -> str | None:
        """The value of a header, None when it is absent."""
        return find_header(self.headers, name)

    def but(
        self,
        *,
        headers: Headers | None = None,
        attempt: int | None = None,
        timeout: float | None = None,
    ) -> Request:
        """A copy with some parts changed; parts left None stay."""
        return replace(
            self,
            headers=self.headers if headers is None else headers,
            attempt=self.attempt if attempt is None else attempt,
            timeout=self.timeout if timeout is None else timeout,
        )


@dataclass(frozen=True, slots=True)
class Response:
    """One complete answer.

    Attributes:
        status: HTTP status.
        headers: name and value pairs, names in lower case, in the order received.
        body: the whole body, decompressed; empty when it went into a sink.
        headers_after: seconds until the headers were there, where the transport measured them.
    """

    status: int
    headers: Headers = ()
    body: bytes = b""
    headers_after: float | None = field(default=None, compare=False)

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as UTF-8, with replacement characters where it is not."""
        return self.body.decode("utf-8", "replace")

    def header(self, name: str) -> str | None:
        """The value of a header, None when it is absent."""
        return find_header(self.headers, name)

    @property
    def request_id(self) -> str | None:
        """The server's id of the request, where it gave one."""
        return self.header("x-request-id") or self.header("request-id")


class TransportFailure(Exception):
    """No complete answer came: a fact about one try, which drivers turn into an error for users.

    Attributes:
        kind: `never_sent` (nothing can have happened), `broken` (the connection failed later), `timeout`.
        limit: seconds the try was allowed, noted by the driver; None for no limit.
        timed_out: time was the reason, whatever had happened by then; a connection can be late as well.
    """

    limit: float | None = None
    timed_out: bool = False

    def __init__(self, message: str, kind: Literal["never_sent", "broken", "timeout"] = "broken") -> None:
        super().__init__(message)
        self.message = message
        self.kind: Literal["never_sent", "broken", "timeout"] = kind
        self.timed_out = kind == "timeout"


def find_header(headers: Headers, name: str) -> str | None:
    """The first value of a header, by its name in any case."""
    wanted = name.lower()
    return next((value for key, value in headers if key == wanted), None)


def merge_headers(*groups: Iterable[tuple[str, str]]) -> Headers:
    """Headers of several groups in one, later groups winning; names become lower case.

    Raises:
        InvalidRequestError: a value could smuggle in another header or cannot be sent at all.
    """
    merged: dict[str, str] = {}
    for group in groups:
        for name, value in group:
            if not (value.isascii() and value.isprintable()):
                raise InvalidRequestError(f"the value of header {name.lower()!r} must be printable ASCII on one line")
            merged[name.lower()] = value
    return tuple(merged.items())
