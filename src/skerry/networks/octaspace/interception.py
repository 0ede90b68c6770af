"""What the hooks `on_request` and `on_response` are given (section 4.4)."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, cast

from skerry._kernel.interception import NO_INTERCEPTORS, HeaderMap, Interceptors, RequestInfo, ResponseInfo
from skerry._kernel.model import NOT_GIVEN, parse_json
from skerry._kernel.redaction import MASK
from skerry._kernel.request import Request
from skerry.networks.octaspace.operations import PUBLIC


class RequestContext(RequestInfo):
    """A try about to be made.

    Attributes:
        headers: may be changed, and what is added is sent; the key is masked and is set afterwards in any case.
    """

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        if request.operation not in PUBLIC:
            self.headers["authorization"] = MASK

    @property
    def attempt(self) -> int:
        """0 for the first try, as the network's own clients count."""
        return super().attempt - 1

    @property
    def body(self) -> Any:
        """The JSON data to be sent, None when there is none."""
        sent = super().body
        value = parse_json(sent) if sent else None
        return None if value is NOT_GIVEN else value

    def __repr__(self) -> str:
        return f"RequestContext({self.method} {self.url}, attempt={self.attempt})"


class ResponseContext:
    """An answer, whatever its status; there is none when the transport fails.

    Attributes:
        request: the very object that `on_request` was given for this try.
        status: HTTP status.
        headers: by name in any case.
        duration_ms: whole milliseconds from sending until the headers were there.
    """

    def __init__(self, response: ResponseInfo, request: RequestContext) -> None:
        self.request = request
        self.status: int = response.status
        self.headers: MutableMapping[str, str] = HeaderMap(response.headers.items())
        self.duration_ms: int = round(response.elapsed * 1000)

    def __repr__(self) -> str:
        return f"ResponseContext({self.status} in {self.duration_ms} ms)"


RequestHook = Callable[[RequestContext], object]
ResponseHook = Callable[[ResponseContext], object]


def interceptors_of(on_request: RequestHook | None, on_response: ResponseHook | None) -> Interceptors:
    """The hooks as the driver calls them; what they return is awaited by asynchronous clients."""
    if on_request is None and on_response is None:
        return NO_INTERCEPTORS

    def after(response: ResponseInfo, request: RequestInfo) -> object:
        assert on_response is not None
        return on_response(ResponseContext(response, cast("RequestContext", request)))

    return Interceptors(
        before=() if on_request is None else (cast("Callable[[RequestInfo], object]", on_request),),
        after=() if on_response is None else (after,),
        view=RequestContext,
    )
