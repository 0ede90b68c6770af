"""How DC1 is spoken: each role has its own key header, and headers that callers may replace (sections 2.2 and 2.9)."""

from __future__ import annotations

from typing import Literal

from skerry._kernel.dialect import Dialect
from skerry._kernel.request import Headers, Request, merge_headers
from skerry.errors import ConfigurationError, InvalidRequestError
from skerry.networks.dc1.codes import error_of, failure_error
from skerry.networks.dc1.config import SDK_VERSION, Config
from skerry.networks.dc1.errors import DC1CancelledError

Role = Literal["renter", "provider", "admin"]
"""As whom a call is made."""

KEY_HEADERS: dict[Role, str] = {"renter": "x-renter-key", "provider": "x-provider-key", "admin": "x-admin-token"}

_USER_AGENTS: dict[Role, str] = {
    # By these words the network's servers count clients.
    "renter": f"dc1-python/{SDK_VERSION}",
    "provider": f"dc1-provider-python/{SDK_VERSION}",
    "admin": f"dc1-python/{SDK_VERSION}",
}
_SETTINGS: dict[Role, str] = {
    "renter": "api_key, or set DCP_RENTER_KEY",
    "provider": "provider_key, or set SKERRY_DC1_PROVIDER_KEY",
    "admin": "admin_token, or set DC1_ADMIN_TOKEN",
}
# The transport frames the body it is given; a caller's idea of the frame could only break it.
_NOT_THE_CALLERS = frozenset({"content-length", "transfer-encoding"})


def key_of(config: Config, role: Role) -> str | None:
    """The key of a role, None where there is none."""
    return {"renter": config.api_key, "provider": config.provider_key, "admin": config.admin_token}[role]


def needed_key(config: Config, role: Role) -> str:
    """The key of a role.

    Raises:
        ConfigurationError: there is none, so the call cannot be made.
    """
    key = key_of(config, role)
    if key is None:
        raise ConfigurationError(f"this call needs a key; pass {_SETTINGS[role]}", network="dc1")
    return key


def role_dialect(config: Config, role: Role, timeout: float | None) -> Dialect:
    """DC1 as one role speaks it. Without a key, requests go unsigned: some routes need none.

    Args:
        config: resolved.
        role: as whom.
        timeout: seconds one try may take, None for no limit.

    Raises:
        ConfigurationError: the key cannot be sent in a header.
    """
    name, key = KEY_HEADERS[role], key_of(config, role)
    marks: Headers = () if key is None else ((name, key),)
    try:
        merge_headers(marks)
    except InvalidRequestError:
        raise ConfigurationError(f"the key sent as {name} must be printable ASCII on one line", network="dc1") from None

    def sign(request: Request) -> Request:
        kept = (pair for pair in request.headers if pair[0] not in _NOT_THE_CALLERS and pair[0] != name)
        return request.but(headers=(*kept, *marks))

    return Dialect(
        network="dc1",
        sign=sign,
        error=error_of,
        failure=failure_error,
        retry=config.policy,
        timeout=timeout,
        # Requests without a body carry the content type too, as the official SDKs send it.
        defaults=(("content-type", "application/json"), ("user-agent", _USER_AGENTS[role])),
        out_of_time=DC1CancelledError,
    )
