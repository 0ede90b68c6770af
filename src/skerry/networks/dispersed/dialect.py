"""How Dispersed is spoken: every try signed afresh, with headers that nobody else can set (sections 2.1 and 4.3)."""

from __future__ import annotations

from dataclasses import replace

from skerry._kernel.dialect import Dialect
from skerry._kernel.effects import Effects
from skerry._kernel.interception import NO_INTERCEPTORS, Interceptors
from skerry._kernel.request import Headers, Request, Response, merge_headers
from skerry._kernel.retry import Failure, Safety
from skerry.errors import ConfigurationError, InvalidRequestError
from skerry.networks.dispersed.codes import error_of, failure_error
from skerry.networks.dispersed.config import VERSION, Config
from skerry.networks.dispersed.errors import ApiError, DispersedCancelledError
from skerry.networks.dispersed.signing import AUTH_HEADERS, NONCE_BYTES, auth_headers

CLIENT_HEADERS: Headers = (("accept", "application/json"), ("x-dispersed-client", f"@dispersed/sdk/{VERSION}"))
"""Sent unless the caller gives others; the user agent is the transport's."""

# The transport frames the body it is given; a caller's idea of the frame could only break it.
_NOT_THE_CALLERS = frozenset({*AUTH_HEADERS, "content-length", "transfer-encoding"})
# A clock that is off by less than this is not what the service objected to.
_WORTH_CORRECTING_MS = 1000


def hmac_dialect(
    config: Config, timeout: float | None, effects: Effects, interceptors: Interceptors = NO_INTERCEPTORS
) -> Dialect:
    """Dispersed for one set of settings.

    Args:
        config: resolved.
        timeout: seconds one try may take, None for no limit.
        effects: clock and chance, for the time and the nonce of each try.
        interceptors: the caller's hooks.

    Raises:
        ConfigurationError: the public key cannot be sent in a header, or a key cannot be signed with.
    """
    try:
        merge_headers([("x-api-key", config.public_key)])
        config.secret_key.encode()
    except (InvalidRequestError, UnicodeEncodeError):
        raise ConfigurationError("public_key must be printable ASCII on one line", network="dispersed") from None
    clock = _Clock(effects)
    policy = config.policy

    def sign(request: Request) -> Request:
        body = request.body if isinstance(request.body, bytes) else None
        marks = auth_headers(
            config.public_key,
            config.secret_key,
            method=request.method,
            url=request.url,
            body=body,
            time_ms=clock.unix_ms(),
            nonce=effects.entropy(NONCE_BYTES).hex(),
        )
        dropped = _NOT_THE_CALLERS if body is not None else _NOT_THE_CALLERS | {"content-type"}
        return request.but(headers=(*(pair for pair in request.headers if pair[0] not in dropped), *marks))

    def error(response: Response) -> ApiError | None:
        problem = error_of(response)
        if config.sync_clock and problem is not None and problem.code == "TIMESTAMP_OUT_OF_RANGE":
            problem.retryable = clock.correct(response.header("date"))
        return problem

    def when(failure: Failure, safety: Safety) -> bool:
        return policy.when(failure, safety) or (failure.status == 401 and failure.error.retryable)

    return Dialect(
        network="dispersed",
        sign=sign,
        error=error,
        failure=failure_error,
        retry=replace(policy, when=when),
        timeout=timeout,
        defaults=CLIENT_HEADERS,
        interceptors=interceptors,
        out_of_time=DispersedCancelledError,
    )


class _Clock:
    """The clock that requests are dated by, which the service may once have set right."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._offset_ms = 0

    def unix_ms(self) -> int:
        return self._effects.unix_ms() + self._offset_ms

    def correct(self, date: str | None) -> bool:
        """Take over the time of a `Date` header; whether that changed anything."""
        # Needed rarely, and the module takes longer to load than all of this.
        from email.utils import parsedate_to_datetime

        try:
            offset = round(parsedate_to_datetime(date or "").timestamp() * 1000) - self._effects.unix_ms()
        except (ValueError, OverflowError):
            return False
        changed = abs(offset - self._offset_ms) > _WORTH_CORRECTING_MS
        self._offset_ms = offset if changed else self._offset_ms
        return changed
