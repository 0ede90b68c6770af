"""How OctaSpace is spoken: the bare key in one header, JSON, and nothing signed (sections 2.2 and 2.3)."""

from __future__ import annotations

from skerry._kernel.dialect import Dialect
from skerry._kernel.interception import NO_INTERCEPTORS, Interceptors
from skerry._kernel.request import Headers, Request, Response, merge_headers
from skerry.errors import ConfigurationError, InvalidRequestError
from skerry.networks.octaspace.codes import error_of, failure_error, retry_after
from skerry.networks.octaspace.config import Config
from skerry.networks.octaspace.errors import OctaAbortedError, OctaApiError

# The transport frames the body it is given; a caller's idea of the frame could only break it.
_NOT_THE_CALLERS = frozenset({"authorization", "content-length", "transfer-encoding"})


def key_dialect(config: Config, timeout: float | None, interceptors: Interceptors = NO_INTERCEPTORS) -> Dialect:
    """OctaSpace for one set of settings.

    Args:
        config: resolved.
        timeout: seconds one try may take, None for no limit.
        interceptors: the caller's hooks.

    Raises:
        ConfigurationError: the key or the user agent cannot be sent in a header.
    """
    try:
        key = merge_headers([("authorization", config.api_key)]) if config.api_key else ()
        defaults: Headers = merge_headers([("accept", "application/json"), ("user-agent", config.user_agent)])
    except InvalidRequestError:
        raise ConfigurationError(
            "api_key and user_agent must be printable ASCII on one line", network="octaspace"
        ) from None

    def sign(request: Request) -> Request:
        dropped = _NOT_THE_CALLERS if request.body is not None else _NOT_THE_CALLERS | {"content-type"}
        return request.but(headers=(*key, *(pair for pair in request.headers if pair[0] not in dropped)))

    def error(response: Response) -> OctaApiError | None:
        return error_of(response, config.api_key)

    return Dialect(
        network="octaspace",
        sign=sign,
        error=error,
        failure=failure_error,
        retry=config.policy,
        timeout=timeout,
        defaults=defaults,
        interceptors=interceptors,
        out_of_time=OctaAbortedError,
        retry_after=retry_after,
    )
