"""The secret that signs task specs and heartbeats (section 2.4): the operator's choice, or one that is made once."""

from __future__ import annotations

import secrets
from pathlib import Path

from skerry.errors import ConfigurationError
from skerry.island.settings import DC1
from skerry.island.store.layout import write_private

NAME = "dc1-hmac-secret"
_BYTES = 32


def hmac_secret(settings: DC1, data_dir: Path) -> str:
    """The secret; blocks on the disk where the settings have none.

    Args:
        settings: of the network.
        data_dir: where a secret that was made up is kept, readable by its owner alone.

    Raises:
        ConfigurationError: the file that keeps it says nothing.
    """
    if settings.hmac_secret:
        return settings.hmac_secret
    path = data_dir / NAME
    try:
        found = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        # Written before it is used, so that whatever it signed can be verified after a crash.
        made = secrets.token_hex(_BYTES)
        write_private(path, made.encode() + b"\n")
        return made
    if not found:
        raise ConfigurationError(f"{path} is empty; put the secret back, or remove the file for a new one")
    return found
