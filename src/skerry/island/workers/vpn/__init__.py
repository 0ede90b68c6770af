"""VPN relays as helpers of the island: real servers, one network namespace each. Knows no network's words."""

from __future__ import annotations

from skerry.island.workers.vpn.means import subkinds
from skerry.island.workers.vpn.relays import Relay, Relays
from skerry.island.workers.vpn.values import PROTOCOLS, SUBKINDS, RelayError, Traffic

__all__ = ["PROTOCOLS", "SUBKINDS", "Relay", "RelayError", "Relays", "Traffic", "subkinds"]
