"""Addresses of this machine's loopback for ports that a test gives up and expects to refuse, or has again."""

from __future__ import annotations

import secrets


def own_address() -> str:
    """One that nobody else uses.

    A port of 127.0.0.1 that was given up may be anybody's a moment later, if only as the near end of a connection.
    """
    return ".".join(["127", *(str(1 + secrets.randbelow(254)) for _ in range(3))])
