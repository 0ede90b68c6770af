"""How Arker is spoken: a bearer key on every API call, and nothing else added (section 2.3)."""

from __future__ import annotations

from skerry._kernel.dialect import Dialect
from skerry._kernel.request import Request, merge_headers
from skerry.errors import ConfigurationError, InvalidRequestError
from skerry.networks.arker.codes import error_of, failure_error
from skerry.networks.arker.config import Config


def bearer_dialect(config: Config, timeout: float | None) -> Dialect:
    """Arker for one set of settings.

    Args:
        config: resolved.
        timeout: seconds an API request may take, None for no limit.

    Raises:
        ConfigurationError: the key cannot be sent in a header.
    """
    try:
        # Blanks at the end, such as a file's line end, cannot be sent in a header.
        authorization = merge_headers([("authorization", f"Bearer {config.api_key}".rstrip())])[0]
    except InvalidRequestError:
        raise ConfigurationError("api_key must be printable ASCII on one line", network="arker") from None

    def sign(request: Request) -> Request:
        others = tuple(header for header in request.headers if header[0] != "authorization")
        return request.but(headers=(authorization, *others))

    return Dialect(
        network="arker",
        sign=sign,
        error=error_of,
        failure=failure_error,
        retry=config.retry.policy,
        timeout=timeout,
    )
