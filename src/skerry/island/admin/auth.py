"""The owner's key: a file that only the owner of the data directory can read."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

NAME = "owner.key"


def owner_key(data_dir: Path) -> str:
    """The key of this island, made on first use with mode 0600."""
    path = data_dir / NAME
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    fresh = path.with_name(f".{NAME}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"own_{secrets.token_urlsafe(32)}\n")
    try:
        # Linking fails when another process was first; then its key counts.
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    return path.read_text().strip()


def admits(key: str, authorization: str | None) -> bool:
    """Whether an `authorization` header carries the key, compared in constant time."""
    scheme, _, given = (authorization or "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), key.encode())
