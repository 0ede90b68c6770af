"""The 0.2.0 generation of Arker's wire: clients for services that still speak it (section 3.8)."""

from __future__ import annotations

from skerry.networks.arker._async.legacy import AsyncArkerLegacy, AsyncLegacyComputer
from skerry.networks.arker._sync.legacy import ArkerLegacy, LegacyComputer
from skerry.networks.arker.legacy_wire import LegacyRunResult, LegacyVmList, LegacyVmSummary

__all__ = [
    "ArkerLegacy",
    "AsyncArkerLegacy",
    "AsyncLegacyComputer",
    "LegacyComputer",
    "LegacyRunResult",
    "LegacyVmList",
    "LegacyVmSummary",
]
