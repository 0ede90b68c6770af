"""The account that a provider works under, as it is kept between commands: one file that only its owner reads."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from skerry.errors import ConfigurationError
from skerry.networks.dc1.config import normal_base_url

DIRECTORY = "provider"
"""Of a provider's own data, in the data directory."""

_FILE = "account.json"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's account with a platform.

    Args:
        base_url: of the platform.
        provider_id: its number there.
        api_key: proves that we are it.
        name: its name.
    """

    base_url: str
    provider_id: int
    api_key: str
    name: str

    def __repr__(self) -> str:
        return f"Account(base_url={self.base_url!r}, provider_id={self.provider_id!r}, name={self.name!r})"


def keep(data_dir: Path, account: Account) -> Path:
    """Write an account down, in place of the one before; its file."""
    path = data_dir / DIRECTORY / _FILE
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    spare = path.with_suffix(".new")
    spare.unlink(missing_ok=True)
    descriptor = os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(account)))
    os.replace(spare, path)
    return path


def load(data_dir: Path) -> Account:
    """The account that was written down.

    Raises:
        ConfigurationError: there is none, or it cannot be read; the message says what to do.
    """
    path = data_dir / DIRECTORY / _FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Account)
    except FileNotFoundError:
        raise ConfigurationError(
            "this machine has no provider's account yet; `skerry provider register` makes one"
        ) from None
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    normal_base_url(found.base_url)
    return found
