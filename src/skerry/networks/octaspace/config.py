"""Where settings come from: arguments, and if asked for the environment (sections 2.1, 4.1 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from skerry._kernel.retry import RetryPolicy, full_jitter
from skerry._kernel.settings import time_limit, tries
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
_IMPLIED_PORTS = {"http": ":80", "https": ":443"}


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
    environ: Mapping[str, str] | None = None,
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    retries: int | None = None,
    user_agent: str | None = None,
    require_api_key: bool = True,
) -> Config:
    """Settle every setting; a missing key is no error yet, for some calls need none.

    Args:
        environ: where to look for what is not given: `OCTA_API_KEY`, `OCTA_BASE_URL`, `OCTA_MAX_RETRIES` and
            `OCTA_USER_AGENT`, blank ones being unset; None for nowhere.
        api_key: sent as it is; empty for none.
        base_url: else the hosted service.
        retries: further tries after the first.
        user_agent: who is calling.
        require_api_key: see `Config`.

    Raises:
        ConfigurationError: a setting makes no sense (also a ValueError).
    """

    def setting(given: str | None, variable: str) -> str | None:
        if given is not None:
            return given
        return (environ or {}).get(variable, "").strip() or None

    count = RETRIES if retries is None else retries
    said = None if retries is not None else setting(None, RETRIES_VARIABLE)
    if said is not None:
        if not (said.isascii() and said.isdigit() and len(said) < 10):
            raise ConfigurationError(f"{RETRIES_VARIABLE} is no count of further tries: {said!r}", network="octaspace")
        count = int(said)
    place = setting(base_url, BASE_URL_VARIABLE)
    return Config(
        api_key=(setting(api_key, API_KEY_VARIABLE) or "").strip(),
        base_url=normal_base_url(BASE_URL if place is None else place),
        retries=tries(count, "octaspace"),
        user_agent=setting(user_agent, USER_AGENT_VARIABLE) or USER_AGENT,
        require_api_key=require_api_key,
    )


def seconds_of(timeout: float | None, timeout_ms: float | None) -> float | None:
    """The time limit in seconds, given in seconds or as the network's own clients have it, in milliseconds.

    Raises:
        ConfigurationError: it is not positive.
    """
    return time_limit(timeout if timeout_ms is None else timeout_ms / 1000, "octaspace")


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
    # Written as the network's own client sends it: host in lower case, and no port where the scheme implies it.
    host = parts.netloc.lower().removesuffix(_IMPLIED_PORTS[parts.scheme])
    return f"{parts.scheme}://{host}{quote(parts.path, safe=_PATH_CHARACTERS)}"
