"""Settings that clients of several networks have, checked."""

from __future__ import annotations

from skerry.errors import ConfigurationError


def tries(count: int, network: str, name: str = "retries") -> int:
    """How many further tries there are after the first: the number itself.

    Raises:
        ConfigurationError: it is no count.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ConfigurationError(f"{name} is a count of further tries, not {count!r}", network=network)
    return count


def time_limit(seconds: float | None, network: str) -> float | None:
    """Seconds that each try may take, None for no limit: the number itself.

    Raises:
        ConfigurationError: it is not positive.
    """
    if seconds is not None and not seconds > 0:
        raise ConfigurationError("a timeout must be positive; None means no limit", network=network)
    return seconds
