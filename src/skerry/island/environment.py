"""How clients find the networks of an island: each setting of each client, and the variable that carries it.

The one table behind `skerry env`, `Island.env()`, and the clients that the command line and `Island` make. It needs no
library of the server, and no island: an address and the keys of `credentials.json` are enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skerry.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of one network's client; its value is a key or an address.

    Attributes:
        network: such as `arker`.
        argument: of the client's constructor.
        variable: of the environment, as the client reads it.
        key: its name in `credentials.json`, for a setting that is a key.
        path: below the island's address, for one that is an address.
    """

    network: str
    argument: str
    variable: str
    key: str = ""
    path: str = ""


SETTINGS = (
    Setting("arker", "api_key", "ARKER_API_KEY", key="arker"),
    Setting("arker", "base_url", "ARKER_BASE_URL", path="/arker"),
    Setting("arker", "burst_base_url", "ARKER_BURST_BASE_URL", path="/arker/api"),
    Setting("dispersed", "public_key", "DISPERSED_PUBLIC_KEY", key="dispersed"),
    Setting("dispersed", "secret_key", "DISPERSED_SECRET_KEY", key="dispersed_secret"),
    Setting("dispersed", "base_url", "DISPERSED_API_BASE_URL", path="/dispersed"),
    Setting("octaspace", "api_key", "OCTA_API_KEY", key="octaspace"),
    Setting("octaspace", "base_url", "OCTA_BASE_URL", path="/octaspace"),
    Setting("dc1", "api_key", "DCP_RENTER_KEY", key="dc1"),
    Setting("dc1", "base_url", "API_BASE", path="/dc1"),
)


def networks(keys: Mapping[str, str]) -> list[str]:
    """The networks that an island with these keys speaks: those of which no key is missing.

    Args:
        keys: as in `credentials.json`.
    """
    known = dict.fromkeys(setting.network for setting in SETTINGS)
    return [name for name in known if not _missing(name, keys)]


def client_settings(network: str, url: str, keys: Mapping[str, str]) -> dict[str, Any]:
    """Arguments that bind a client to an island.

    Args:
        network: whose client.
        url: the island's address, without a path.
        keys: as in `credentials.json`.

    Raises:
        ConfigurationError: the island has no keys for this network.
    """
    _check(network, keys)
    return {s.argument: _value(s, url, keys) for s in SETTINGS if s.network == network}


def variables(url: str, keys: Mapping[str, str], network: str | None = None) -> dict[str, str]:
    """The environment that points clients at an island.

    Args:
        url: the island's address, without a path.
        keys: as in `credentials.json`.
        network: for this one alone; for all that the island speaks when None.

    Raises:
        ConfigurationError: the island has no keys for this network.
    """
    if network is not None:
        _check(network, keys)
    wanted = networks(keys) if network is None else [network]
    return {s.variable: _value(s, url, keys) for s in SETTINGS if s.network in wanted}


def _missing(network: str, keys: Mapping[str, str]) -> bool:
    return any(s.key and not keys.get(s.key) for s in SETTINGS if s.network == network)


def _check(network: str, keys: Mapping[str, str]) -> None:
    spoken = networks(keys)
    if network not in spoken:
        raise ConfigurationError(f"this island has no keys for {network!r}; it speaks {', '.join(spoken) or 'nothing'}")


def _value(setting: Setting, url: str, keys: Mapping[str, str]) -> str:
    return keys[setting.key] if setting.key else f"{url}{setting.path}"
