"""Which base URL serves which reference (section 2.1)."""

from __future__ import annotations

import re

from skerry._kernel.urls import base_url
from skerry.errors import ConfigurationError

BURST_GOLDENS = frozenset({"arkuntu"})
_BURST_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}_[A-Za-z0-9]+")


def is_burst(reference: str) -> bool:
    """Whether a golden name or VM id belongs to a burst endpoint.

    Example:
        >>> is_burst("01KR4AN62T47VXQ0A3AVSSWFTZ_uswe"), is_burst("ubuntu")
        (True, False)
    """
    trimmed = reference.strip()
    return trimmed.lower() in BURST_GOLDENS or _BURST_ID.fullmatch(trimmed) is not None


def normal_region(region: str) -> str:
    """A region name without blanks, in lower case.

    Raises:
        ConfigurationError: nothing is left.
    """
    trimmed = region.strip().lower()
    if not trimmed:
        raise ConfigurationError("region must not be empty")
    return trimmed


def normal_base_url(value: str) -> str:
    """A base URL as requests are built on it."""
    return base_url(value)


def regional_base_url(region: str) -> str:
    """The normal endpoint of a (normalised) region."""
    return f"https://{region}.arker.ai"


def regional_burst_base_url(region: str) -> str:
    """The burst endpoint of a (normalised) region."""
    if region.startswith("aws-"):
        return f"https://aws-burst-{region.removeprefix('aws-')}.arker.ai/api"
    return f"https://{region}-burst.arker.ai/api"


def base_for(reference: str, normal: str, burst: str | None) -> str:
    """The base URL that serves a reference."""
    return burst if burst is not None and is_burst(reference) else normal
