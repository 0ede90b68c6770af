"""Hooks that take part: run around every try, allowed to add headers and to stop the call by raising.

They see a request before it is signed and an answer as a value of its own, so they can neither break a signature nor
use up a body. Hooks that only look on are in `skerry._kernel.hooks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import SplitResult, urlsplit

from skerry._kernel.model import NOT_GIVEN, parse_json
from skerry._kernel.request import Request, Response


class HeaderMap(MutableMapping[str, str]):
    """Headers by name in any case; a name keeps the case it was set with last."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._items: dict[str, tuple[str, str]] = {}
        for name, value in pairs:
            self[name] = value

    def __getitem__(self, name: str) -> str:
        return self._items[name.lower()][1]

    def __setitem__(self, name: str, value: str) -> None:
        self._items[name.lower()] = (name, value)

    def __delitem__(self, name: str) -> None:
        del self._items[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._items


class UrlInfo(str):
    """A URL as text, with its parts at hand."""

    @cached_property
    def _parts(self) -> SplitResult:
        return urlsplit(self)

    @property
    def origin(self) -> str:
        """Scheme, host and port, such as `https://api.test:8443`."""
        return f"{self._parts.scheme}://{self._parts.netloc.rpartition('@')[2]}"

    @property
    def pathname(self) -> str:
        """The path as it is sent, percent-encoded."""
        return self._parts.path or "/"

    @property
    def search(self) -> str:
        """The query as it is sent, with its question mark; nothing when there is none."""
        return f"?{self._parts.query}" if self._parts.query else ""


class RequestInfo:
    """A try about to be made, as hooks see it: without the headers that authenticate.

    Attributes:
        headers: may be changed; what authenticates and what describes the body is set afterwards in any case.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._url = UrlInfo(request.url)
        self.headers: MutableMapping[str, str] = HeaderMap(request.headers)

    @property
    def method(self) -> str:
        """HTTP method in upper case."""
        return self._request.method

    @property
    def url(self) -> UrlInfo:
        """Where it goes."""
        return self._url

    @property
    def operation(self) -> str:
        """The operation's name, such as `jobs.create`."""
        return self._request.operation

    @property
    def attempt(self) -> int:
        """1 for the first try."""
        return self._request.attempt

    @property
    def body(self) -> bytes | None:
        """The bytes to be sent; None when there are none, or when they come from a file."""
        return self._request.body if isinstance(self._request.body, bytes) else None

    def __repr__(self) -> str:
        return f"RequestInfo({self.method} {self.url.pathname}, attempt={self.attempt})"


class ResponseInfo:
    """An answer, as hooks see it: the body may be read as often as one likes.

    Attributes:
        headers: a copy; changing it changes nothing.
        elapsed: seconds from sending until the headers were there, or the whole answer where only that is known.
    """

    def __init__(self, response: Response, elapsed: float = 0.0) -> None:
        self._response = response
        self.elapsed = elapsed if response.headers_after is None else response.headers_after
        self.headers: MutableMapping[str, str] = HeaderMap(response.headers)

    @property
    def status(self) -> int:
        """HTTP status."""
        return self._response.status

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return self._response.ok

    @property
    def body(self) -> bytes:
        """The whole body."""
        return self._response.body

    @property
    def text(self) -> str:
        """The body as UTF-8, with replacement characters where it is not."""
        return self._response.text

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: it is empty or not JSON.
        """
        value = parse_json(self.body) if self.body else NOT_GIVEN
        if value is NOT_GIVEN:
            raise ValueError("the body is not JSON")
        return value

    def __repr__(self) -> str:
        return f"ResponseInfo({self.status})"


@dataclass(frozen=True, slots=True)
class Interceptors:
    """Two lists of functions, called in order for every try; in asynchronous clients they may be coroutines.

    Attributes:
        before: called before a try is signed.
        after: called with every answer, also with those that are errors or will be tried again; not when none came.
        view: what makes the value that hooks see of a request.
    """

    before: Sequence[Callable[[RequestInfo], object]] = ()
    after: Sequence[Callable[[ResponseInfo, RequestInfo], object]] = ()
    view: Callable[[Request], RequestInfo] = RequestInfo

    def __bool__(self) -> bool:
        return bool(self.before or self.after)


NO_INTERCEPTORS = Interceptors()
