"""Where settings come from: arguments, then the environment, then defaults (sections 2.1, 2.8 and 5.12)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from skerry._kernel.retry import RetryPolicy
from skerry._kernel.settings import tries
from skerry._kernel.urls import base_url as trimmed_base_url
from skerry.errors import ConfigurationError
from skerry.networks.dc1.codes import retry_when

SDK_VERSION = "0.1.0"
"""The version of the official SDKs whose words this client speaks, told in its user agent."""

BASE_URL = "https://api.dcp.sa"
DEFAULT_BASE_URL = BASE_URL
TIMEOUT = 30.0
"""Seconds that one try may take unless the caller says otherwise."""

RETRIES = 0
"""Further tries after the first unless the caller says otherwise: the official SDKs make none (section 2.8)."""

KEY_LENGTH = 128
"""Characters of a key that servers look at."""

_ENVIRONMENT = {
    "api_key": "DCP_RENTER_KEY",
    "base_url": "API_BASE",
    "provider_key": "SKERRY_DC1_PROVIDER_KEY",
    "admin_token": "DC1_ADMIN_TOKEN",
    "hmac_secret": "DC1_HMAC_SECRET",
}


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one client, resolved.

    Attributes:
        api_key: the renter's key, None for a client that has none.
        base_url: without trailing slash; a path in it is kept.
        provider_key: the key of a GPU host's account, for `client.provider`.
        admin_token: for `client.admin`.
        hmac_secret: the platform's secret, which heartbeats are signed with where there is one.
        retries: further tries after the first.
    """

    api_key: str | None
    base_url: str
    provider_key: str | None = None
    admin_token: str | None = None
    hmac_secret: str | None = None
    retries: int = RETRIES

    def __repr__(self) -> str:
        return f"Config(base_url={self.base_url!r}, retries={self.retries})"

    @property
    def policy(self) -> RetryPolicy:
        """The network's retry policy with these settings: transient trouble, where repeating does no harm."""
        return RetryPolicy(attempts=self.retries + 1, when=retry_when, adjustable=True)


def resolve(
    environ: Mapping[str, str],
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    provider_key: str | None = None,
    admin_token: str | None = None,
    hmac_secret: str | None = None,
    retries: int = RETRIES,
) -> Config:
    """Settle every setting; an argument wins over the environment.

    Args:
        environ: the environment; values are trimmed, blank ones count as unset.
        api_key: else `DCP_RENTER_KEY`. May be missing: registering and looking around need none.
        base_url: else `API_BASE`, else the hosted service.
        provider_key: else `SKERRY_DC1_PROVIDER_KEY`.
        admin_token: else `DC1_ADMIN_TOKEN`.
        hmac_secret: else `DC1_HMAC_SECRET`.
        retries: further tries after the first.

    Raises:
        ConfigurationError: a key is given but blank, or a setting makes no sense (also a ValueError).
    """

    def setting(name: str, given: str | None) -> str | None:
        if given is None:
            return environ.get(_ENVIRONMENT[name], "").strip() or None
        if not given.strip():
            raise ConfigurationError(f"{name} is required", network="dc1")
        return given.strip()

    place = setting("base_url", base_url)
    return Config(
        api_key=setting("api_key", api_key),
        base_url=normal_base_url(BASE_URL if place is None else place),
        provider_key=setting("provider_key", provider_key),
        admin_token=setting("admin_token", admin_token),
        hmac_secret=setting("hmac_secret", hmac_secret),
        retries=tries(retries, "dc1"),
    )


def normal_base_url(value: str) -> str:
    """A base URL that paths can be put behind: surrounding blanks and trailing slashes gone.

    Raises:
        ConfigurationError: it is no http or https URL, or it has a query or a fragment.
    """
    trimmed = trimmed_base_url(value)
    try:
        parts = urlsplit(trimmed)
        good = bool(parts.hostname) and parts.scheme in ("http", "https") and trimmed.isascii()
    except ValueError:
        good = False
    if not good:
        raise ConfigurationError("base_url must start with http:// or https:// and name a host", network="dc1")
    if {"?", "#", " "} & set(trimmed):
        raise ConfigurationError("base_url takes no query, no fragment and no blanks", network="dc1")
    return trimmed
