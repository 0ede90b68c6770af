"""Where settings come from: arguments, then the environment, then what a region implies (section 2.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from skerry._kernel.retry import RetryPolicy, doubling
from skerry.errors import ConfigurationError
from skerry.networks.arker.codes import retry_when, strict_retry_when
from skerry.networks.arker.routing import (
    normal_base_url,
    normal_region,
    regional_base_url,
    regional_burst_base_url,
)

API_TIMEOUT = 120.0
"""Seconds that one try of an API request may take unless the caller says otherwise."""


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """How the client repeats what failed for the moment (section 2.4).

    Attributes:
        attempts: tries in all; fractions are cut, less than 1 counts as 1.
        base_delay_s: seconds before the second try; doubled each time after.
        max_delay_s: most seconds between two tries, jitter apart.
        jitter_s: at most so many seconds are added by chance, in whole milliseconds.
        strict: never repeat a fork or a run without key after it may have been carried out.
    """

    attempts: int = 4
    base_delay_s: float = 0.2
    max_delay_s: float = 2.0
    jitter_s: float = 0.05
    strict: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "attempts", max(1, math.floor(self.attempts)))
        for name in ("base_delay_s", "max_delay_s", "jitter_s"):
            object.__setattr__(self, name, max(0, getattr(self, name)))

    @property
    def policy(self) -> RetryPolicy:
        """The same as the kernel's policy; Arker's clients pay no heed to `Retry-After`."""
        return RetryPolicy(
            attempts=self.attempts,
            backoff=doubling(self.base_delay_s, self.max_delay_s, self.jitter_s),
            when=strict_retry_when if self.strict else retry_when,
            obey_retry_after=False,
        )


NO_RETRIES = RetryOptions(attempts=1, base_delay_s=0, max_delay_s=0, jitter_s=0)

Retry = RetryOptions | Mapping[str, Any] | Literal[False] | None
"""What the `retry` argument takes."""


def retry_options(value: Retry) -> RetryOptions:
    """Retry options from what a user may write: nothing, options, a mapping with the same names, or False.

    Raises:
        ConfigurationError: the mapping names something else, or the value is none of these.
    """
    if isinstance(value, RetryOptions):
        return value
    if value is None:
        return RetryOptions()
    if value is False:
        return NO_RETRIES
    if not isinstance(value, Mapping):
        raise ConfigurationError("retry must be RetryOptions, a mapping of its fields, or False")
    known = set(RetryOptions.__dataclass_fields__)
    if unknown := sorted(set(value) - known):
        raise ConfigurationError(f"retry knows {', '.join(sorted(known))}; not {', '.join(map(str, unknown))}")
    return RetryOptions(**{name: item for name, item in value.items() if item is not None})


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one client, resolved.

    Attributes:
        api_key: the bearer secret.
        base_url: of the normal endpoint, without trailing slash.
        burst_base_url: of the burst endpoint, None when there is none.
        region: normalised, None when none was given.
        retry: normalised.
    """

    api_key: str
    base_url: str
    burst_base_url: str | None
    region: str | None
    retry: RetryOptions

    def __repr__(self) -> str:
        return f"Config(base_url={self.base_url!r}, burst_base_url={self.burst_base_url!r}, region={self.region!r})"


def resolve(
    environ: Mapping[str, str],
    *,
    api_key: str | None = None,
    region: str | None = None,
    base_url: str | None = None,
    burst_base_url: str | None = None,
    retry: Retry = None,
) -> Config:
    """Settle every setting; the first source that has it wins.

    Args:
        environ: the environment; values are trimmed, blank ones count as unset.
        api_key: else `ARKER_API_KEY`, else `AUTH_KEY`. An empty text does not fall through.
        region: else `ARKER_REGION`, which counts only when no base URL was given.
        base_url: else `ARKER_BASE_URL`, else the region's.
        burst_base_url: else `ARKER_BURST_BASE_URL`, else the region's, else none.
        retry: see `retry_options`.

    Raises:
        ConfigurationError: something required is missing, or empty.
    """

    def env(name: str) -> str | None:
        return environ.get(name, "").strip() or None

    key = next((value for value in (api_key, env("ARKER_API_KEY"), env("AUTH_KEY")) if value is not None), "")
    if not key:
        raise ConfigurationError("api_key is required; pass api_key or set ARKER_API_KEY", network="arker")
    explicit = base_url if base_url is not None else env("ARKER_BASE_URL")
    if region is None and explicit is None:
        region = env("ARKER_REGION")
    place = None if region is None else normal_region(region)
    if explicit is not None:
        normal = normal_base_url(explicit)
    elif place is not None:
        normal = regional_base_url(place)
    else:
        raise ConfigurationError(
            "region or base_url is required; pass region, base_url, ARKER_REGION, or ARKER_BASE_URL", network="arker"
        )
    burst = burst_base_url if burst_base_url is not None else env("ARKER_BURST_BASE_URL")
    if burst is not None:
        burst = normal_base_url(burst)
    elif place is not None:
        burst = regional_burst_base_url(place)
    return Config(key, normal, burst, place, retry_options(retry))
