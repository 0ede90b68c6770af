"""Where settings come from: arguments, then the environment, then defaults (sections 2 and 4.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from skerry._kernel.retry import RetryPolicy
from skerry._kernel.settings import tries
from skerry._kernel.urls import base_url as trimmed_base_url
from skerry.errors import ConfigurationError
from skerry.networks.dispersed.codes import retry_when, retry_when_broken

VERSION = "0.1.0"
"""Version of this client; a test holds it to the version of the package."""

BASE_URL = "https://api.dispersed.com"
TIMEOUT = 30.0
"""Seconds that one try may take unless the caller says otherwise."""

RETRY = 2
"""Further tries after the first unless the caller says otherwise."""

_ENVIRONMENT = {
    "public_key": ("DISPERSED_PUBLIC_KEY", "ZER_PUBLIC_KEY"),
    "secret_key": ("DISPERSED_SECRET_KEY", "ZER_SECRET_KEY"),
    "base_url": ("DISPERSED_API_BASE_URL", "ZER_API_BASE_URL"),
}
"""Each setting's variables, the present name first, the one of older generations after it."""

_LONGEST_RETRY_AFTER = 30.0
_FIRST_WAIT, _LONGEST_WAIT, _JITTER = 0.5, 8.0, 0.1
# What the path of a base URL may hold beside letters and digits; anything else is encoded, once.
_PATH_CHARACTERS = "/%-._~!$&'()*+,;=:@"


def backoff(failed: int, chance: Callable[[], float]) -> float:
    """Seconds to wait after so many failed tries: 0.5, 1, 2, 4, 8, 8 ..., and up to a tenth more (section 4.5)."""
    steady = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(failed - 1, 64))
    return steady * (1 + _JITTER * chance())


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one client, resolved.

    Attributes:
        public_key: names the key pair.
        secret_key: signs.
        base_url: without trailing slash; a path in it is part of what is signed.
        retry: further tries after the first.
        retry_network_errors: failures of the transport are repeated too, where that is harmless.
        sync_clock: a clock that the service finds wrong is set right once, by the service's own `Date`.
    """

    public_key: str
    secret_key: str
    base_url: str
    retry: int = RETRY
    retry_network_errors: bool = False
    sync_clock: bool = False

    def __repr__(self) -> str:
        return f"Config(public_key={self.public_key!r}, base_url={self.base_url!r}, retry={self.retry})"

    @property
    def policy(self) -> RetryPolicy:
        """The network's retry policy with these settings."""
        return RetryPolicy(
            attempts=self.retry + 1,
            backoff=backoff,
            when=retry_when_broken if self.retry_network_errors else retry_when,
            longest_wait=_LONGEST_RETRY_AFTER,
            shorten=True,
            adjustable=True,
        )


def resolve(
    environ: Mapping[str, str],
    *,
    public_key: str | None = None,
    secret_key: str | None = None,
    base_url: str | None = None,
    retry: int = RETRY,
    retry_network_errors: bool = False,
    sync_clock: bool = False,
) -> Config:
    """Settle every setting; the first source that has it wins, and an empty argument does not fall through.

    Args:
        environ: the environment; values are trimmed, blank ones count as unset.
        public_key: else `DISPERSED_PUBLIC_KEY`, else `ZER_PUBLIC_KEY`.
        secret_key: else `DISPERSED_SECRET_KEY`, else `ZER_SECRET_KEY`.
        base_url: else `DISPERSED_API_BASE_URL`, else `ZER_API_BASE_URL`, else the hosted service.
        retry: further tries after the first.
        retry_network_errors: see `Config`.
        sync_clock: see `Config`.

    Raises:
        ConfigurationError: a key is missing or empty, or a setting makes no sense (also a ValueError).
    """

    def setting(name: str, given: str | None) -> str | None:
        if given is not None:
            return given
        return next((value for key in _ENVIRONMENT[name] if (value := environ.get(key, "").strip())), None)

    keys: dict[str, str] = {}
    for name, given in (("public_key", public_key), ("secret_key", secret_key)):
        keys[name] = setting(name, given) or ""
        if not keys[name].strip():
            raise ConfigurationError(
                f"{name} is required; pass {name} or set {_ENVIRONMENT[name][0]}", network="dispersed"
            )
    place = setting("base_url", base_url)
    return Config(
        public_key=keys["public_key"],
        secret_key=keys["secret_key"],
        base_url=normal_base_url(BASE_URL if place is None else place),
        retry=tries(retry, "dispersed", "retry"),
        retry_network_errors=retry_network_errors,
        sync_clock=sync_clock,
    )


def normal_base_url(value: str) -> str:
    """A base URL that paths can be put behind, without trailing slash and fit to be signed as it is.

    Raises:
        ConfigurationError: it is no http or https URL, or it has a query, a fragment or dot segments.
    """
    trimmed = trimmed_base_url(value)
    try:
        parts = urlsplit(trimmed)
    except ValueError:
        parts = None
    if parts is None or not parts.hostname or parts.scheme not in ("http", "https"):
        raise ConfigurationError("base_url must start with http:// or https:// and name a host", network="dispersed")
    if "?" in trimmed or "#" in trimmed or {".", ".."} & set(parts.path.split("/")):
        raise ConfigurationError("base_url takes no query, no fragment and no dot segments", network="dispersed")
    return f"{parts.scheme}://{parts.netloc}{quote(parts.path, safe=_PATH_CHARACTERS)}"
