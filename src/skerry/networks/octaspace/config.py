"""Where settings come from: arguments, or by `from_env` the environment (sections 2.1, 4.1 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from skerry._kernel.retry import RetryPolicy, full_jitter
from skerry.errors import ConfigurationError
from skerry.networks.octaspace.codes import retry_when

VERSION = "0.1.0"
"""Version of this client; a test holds it to the version of the package."""

BASE_URL = "https://api.octa.computer"
USER_AGENT = f"skerry/{VERSION} (python)"
TIMEOUT = 30.0
"""Seconds that one try may take unless the caller says otherwise."""

RETRIES = 2
"""Further tries after the first unless the caller says otherwise."""

API_KEY_VARIABLE = "OCTA_API_KEY"
BASE_URL_VARIABLE = "OCTA_BASE_URL"
RETRIES_VARIABLE = "OCTA_MAX_RETRIES"
USER_AGENT_VARIABLE = "OCTA_USER_AGENT"

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0
# The network sets no bound on what it may ask for; the system's clocks do.
_LONGEST_RETRY_AFTER = 1e9
# What the path of a base URL may hold beside letters and digits; anything else is encoded, once.
_PATH_CHARACTERS = "/%-._~!$&'()*+,;=:@"


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one client, resolved.

    Attributes:
        api_key: sent as it is; empty for none.
        base_url: without trailing slash.
        retries: further tries after the first.
        user_agent: who is calling.
        require_api_key: calls that need a key fail at once when there is none.
    """

    api_key: str = ""
    base_url: str = BASE_URL
    retries: int = RETRIES
    user_agent: str = USER_AGENT
    require_api_key: bool = True

    def __repr__(self) -> str:
        key = "set" if self.api_key else "none"
        return f"Config(api_key: {key}, base_url={self.base_url!r}, retries={self.retries})"

    @property
    def policy(self) -> RetryPolicy:
        """The network's retry policy with these settings."""
        return RetryPolicy(
            attempts=self.retries + 1,
            backoff=full_jitter(_FIRST_WAIT, _LONGEST_WAIT),
            when=retry_when,
            longest_wait=_LONGEST_RETRY_AFTER,
            shorten=True,
            adjustable=True,
        )


def resolve(
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    retries: int = RETRIES,
    user_agent: str | None = None,
    require_api_key: bool = True,
) -> Config:
    """Settle every setting; a missing key is no error yet, for some calls need none.

    Raises:
        ConfigurationError: a setting makes no sense (also a ValueError).
    """
    return Config(
        api_key=(api_key or "").strip(),
        base_url=normal_base_url(BASE_URL if base_url is None else base_url),
        retries=checked_retries(retries),
        user_agent=user_agent or USER_AGENT,
        require_api_key=require_api_key,
    )


class Environment(NamedTuple):
    """What the environment says, as the client's arguments."""

    api_key: str | None
    base_url: str | None
    retries: int
    user_agent: str | None


def from_environment(environ: Mapping[str, str]) -> Environment:
    """Settings from `OCTA_API_KEY`, `OCTA_BASE_URL`, `OCTA_MAX_RETRIES` and `OCTA_USER_AGENT`; blank ones are unset.

    Raises:
        ConfigurationError: the number of retries is no count (also a ValueError).
    """

    def setting(name: str) -> str | None:
        return environ.get(name, "").strip() or None

    retries = setting(RETRIES_VARIABLE)
    if retries is not None and not (retries.isascii() and retries.isdigit() and len(retries) < 10):
        raise ConfigurationError(
            f"{RETRIES_VARIABLE} is a count of further tries, not {retries!r}", network="octaspace"
        )
    return Environment(
        setting(API_KEY_VARIABLE),
        setting(BASE_URL_VARIABLE),
        RETRIES if retries is None else int(retries),
        setting(USER_AGENT_VARIABLE),
    )


def checked_retries(retries: int) -> int:
    """The number itself.

    Raises:
        ConfigurationError: it is no count.
    """
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise ConfigurationError(f"retries is a count of further tries, not {retries!r}", network="octaspace")
    return retries


def checked_timeout(seconds: float | None) -> float | None:
    """The number itself.

    Raises:
        ConfigurationError: it is not positive.
    """
    if seconds is not None and not seconds > 0:
        raise ConfigurationError("a timeout must be positive; None means no limit", network="octaspace")
    return seconds


def seconds_of(timeout: float | None, timeout_ms: float | None) -> float | None:
    """The time limit in seconds, given in seconds or as the network's own clients have it, in milliseconds.

    Raises:
        ConfigurationError: it is not positive.
    """
    return checked_timeout(timeout if timeout_ms is None else timeout_ms / 1000)


def normal_base_url(value: str) -> str:
    """A base URL that paths can be put behind: exactly one trailing slash is taken off.

    Raises:
        ConfigurationError: it is no http or https URL, or has a user, a query, a fragment or dot segments.
    """
    trimmed = value.strip().removesuffix("/")
    try:
        parts = urlsplit(trimmed)
        port = parts.port
    except ValueError:
        parts, port = None, None
    if parts is None or not parts.hostname or parts.scheme not in ("http", "https"):
        raise ConfigurationError("base_url must start with http:// or https:// and name a host", network="octaspace")
    if "?" in trimmed or "#" in trimmed or {".", ".."} & set(parts.path.split("/")):
        raise ConfigurationError("base_url takes no query, no fragment and no dot segments", network="octaspace")
    if "@" in parts.netloc or port == 0:
        raise ConfigurationError(
            "base_url takes no user, and a port above 0; keys go into api_key", network="octaspace"
        )
    return f"{parts.scheme}://{parts.netloc}{quote(parts.path, safe=_PATH_CHARACTERS)}"
