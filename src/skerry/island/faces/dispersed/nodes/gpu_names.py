"""When two names mean the same model of GPU (section 3.5)."""

from __future__ import annotations

_NOISE = frozenset({"nvidia", "geforce"})


def key_of(name: str) -> str:
    """What of a name counts: lower case, single spaces, without the words NVIDIA and GeForce.

    Example:
        >>> key_of("NVIDIA GeForce  RTX 4090") == key_of("rtx 4090")
        True
    """
    return " ".join(word for word in name.casefold().split() if word not in _NOISE)
