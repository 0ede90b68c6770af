"""The OctaSpace network: rent machines with SSH and ports, render workers and VPN relays, and run nodes of one's own.

>>> from skerry.networks.octaspace import OctaSpace
>>> with OctaSpace.from_env() as octa:  # doctest: +SKIP
...     session = octa.services.mr.start(7, disk_size=10, image="ubuntu:24.04", ports=[22])
...     print(session.wait_ready(timeout=300).ssh_direct)
...     session.stop()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skerry._kernel.hooks import Hooks
    from skerry._kernel.model import NOT_GIVEN
    from skerry._kernel.options import Deadline, RequestOptions
    from skerry._kernel.raw import RawResponse
    from skerry.networks.octaspace._async.accounts import AsyncAccounts
    from skerry.networks.octaspace._async.apps import AsyncApps
    from skerry.networks.octaspace._async.client import AsyncOctaSpace
    from skerry.networks.octaspace._async.idle_jobs import AsyncIdleJobs
    from skerry.networks.octaspace._async.network import AsyncNetwork
    from skerry.networks.octaspace._async.nodes import AsyncNodes
    from skerry.networks.octaspace._async.services import AsyncMachineRental, AsyncRender, AsyncServices, AsyncVpn
    from skerry.networks.octaspace._async.session import AsyncSession
    from skerry.networks.octaspace._async.sessions import AsyncSessions
    from skerry.networks.octaspace._sync.accounts import Accounts
    from skerry.networks.octaspace._sync.apps import Apps
    from skerry.networks.octaspace._sync.client import OctaSpace
    from skerry.networks.octaspace._sync.idle_jobs import IdleJobs
    from skerry.networks.octaspace._sync.network import Network
    from skerry.networks.octaspace._sync.nodes import Nodes
    from skerry.networks.octaspace._sync.services import MachineRental, Render, Services, Vpn
    from skerry.networks.octaspace._sync.session import Session
    from skerry.networks.octaspace._sync.sessions import Sessions
    from skerry.networks.octaspace.config import VERSION
    from skerry.networks.octaspace.downloads import Download, SavedFile
    from skerry.networks.octaspace.errors import (
        OctaAbortedError,
        OctaApiError,
        OctaAuthenticationError,
        OctaBadRequestError,
        OctaConflictError,
        OctaDecodeError,
        OctaError,
        OctaNetworkError,
        OctaNodeBusyError,
        OctaNotFoundError,
        OctaPaymentRequiredError,
        OctaPermissionError,
        OctaProvisionBusyError,
        OctaProvisionInvalidError,
        OctaProvisionNoCapacityError,
        OctaProvisionNotFoundError,
        OctaProvisionPaymentRequiredError,
        OctaProvisionRejectedError,
        OctaProvisionServerError,
        OctaRateLimitError,
        OctaServerError,
        OctaSessionEndedError,
        OctaTimeoutError,
        OctaUnavailableError,
        OctaUnsupportedError,
        OctaValidationError,
    )
    from skerry.networks.octaspace.inputs import CallOptions, VpnProtocol, VpnSubkind
    from skerry.networks.octaspace.interception import RequestContext, ResponseContext
    from skerry.networks.octaspace.machines import (
        Disk,
        Gpu,
        Location,
        Memory,
        MrMachine,
        Node,
        NodeDetail,
        NodeDetailData,
        NodePrices,
        NodeSystem,
        Rating,
        Reliability,
        RenderMachine,
        VpnNode,
    )
    from skerry.networks.octaspace.models import (
        Account,
        App,
        Balance,
        BlockchainInfo,
        IdleJob,
        NetworkNodes,
        NetworkPower,
        NetworkStats,
        ServiceInfo,
        SessionLogs,
        SessionNodeHw,
        SessionPrices,
        SshAccess,
        Started,
        SystemLogEntry,
        Wallet,
    )

# Loaded on first use, so that a synchronous program never loads the asynchronous client, nor the reverse.
_HOME = {
    "Account": "skerry.networks.octaspace.models",
    "Accounts": "skerry.networks.octaspace._sync.accounts",
    "App": "skerry.networks.octaspace.models",
    "Apps": "skerry.networks.octaspace._sync.apps",
    "AsyncAccounts": "skerry.networks.octaspace._async.accounts",
    "AsyncApps": "skerry.networks.octaspace._async.apps",
    "AsyncIdleJobs": "skerry.networks.octaspace._async.idle_jobs",
    "AsyncMachineRental": "skerry.networks.octaspace._async.services",
    "AsyncNetwork": "skerry.networks.octaspace._async.network",
    "AsyncNodes": "skerry.networks.octaspace._async.nodes",
    "AsyncOctaSpace": "skerry.networks.octaspace._async.client",
    "AsyncRender": "skerry.networks.octaspace._async.services",
    "AsyncServices": "skerry.networks.octaspace._async.services",
    "AsyncSession": "skerry.networks.octaspace._async.session",
    "AsyncSessions": "skerry.networks.octaspace._async.sessions",
    "AsyncVpn": "skerry.networks.octaspace._async.services",
    "Balance": "skerry.networks.octaspace.models",
    "BlockchainInfo": "skerry.networks.octaspace.models",
    "CallOptions": "skerry.networks.octaspace.inputs",
    "Deadline": "skerry._kernel.options",
    "Disk": "skerry.networks.octaspace.machines",
    "Download": "skerry.networks.octaspace.downloads",
    "Gpu": "skerry.networks.octaspace.machines",
    "Hooks": "skerry._kernel.hooks",
    "IdleJob": "skerry.networks.octaspace.models",
    "IdleJobs": "skerry.networks.octaspace._sync.idle_jobs",
    "Location": "skerry.networks.octaspace.machines",
    "MachineRental": "skerry.networks.octaspace._sync.services",
    "Memory": "skerry.networks.octaspace.machines",
    "MrMachine": "skerry.networks.octaspace.machines",
    "NOT_GIVEN": "skerry._kernel.model",
    "Network": "skerry.networks.octaspace._sync.network",
    "NetworkNodes": "skerry.networks.octaspace.models",
    "NetworkPower": "skerry.networks.octaspace.models",
    "NetworkStats": "skerry.networks.octaspace.models",
    "Node": "skerry.networks.octaspace.machines",
    "NodeDetail": "skerry.networks.octaspace.machines",
    "NodeDetailData": "skerry.networks.octaspace.machines",
    "NodePrices": "skerry.networks.octaspace.machines",
    "NodeSystem": "skerry.networks.octaspace.machines",
    "Nodes": "skerry.networks.octaspace._sync.nodes",
    "OctaAbortedError": "skerry.networks.octaspace.errors",
    "OctaApiError": "skerry.networks.octaspace.errors",
    "OctaAuthenticationError": "skerry.networks.octaspace.errors",
    "OctaBadRequestError": "skerry.networks.octaspace.errors",
    "OctaConflictError": "skerry.networks.octaspace.errors",
    "OctaDecodeError": "skerry.networks.octaspace.errors",
    "OctaError": "skerry.networks.octaspace.errors",
    "OctaNetworkError": "skerry.networks.octaspace.errors",
    "OctaNodeBusyError": "skerry.networks.octaspace.errors",
    "OctaNotFoundError": "skerry.networks.octaspace.errors",
    "OctaPaymentRequiredError": "skerry.networks.octaspace.errors",
    "OctaPermissionError": "skerry.networks.octaspace.errors",
    "OctaProvisionBusyError": "skerry.networks.octaspace.errors",
    "OctaProvisionInvalidError": "skerry.networks.octaspace.errors",
    "OctaProvisionNoCapacityError": "skerry.networks.octaspace.errors",
    "OctaProvisionNotFoundError": "skerry.networks.octaspace.errors",
    "OctaProvisionPaymentRequiredError": "skerry.networks.octaspace.errors",
    "OctaProvisionRejectedError": "skerry.networks.octaspace.errors",
    "OctaProvisionServerError": "skerry.networks.octaspace.errors",
    "OctaRateLimitError": "skerry.networks.octaspace.errors",
    "OctaServerError": "skerry.networks.octaspace.errors",
    "OctaSessionEndedError": "skerry.networks.octaspace.errors",
    "OctaSpace": "skerry.networks.octaspace._sync.client",
    "OctaTimeoutError": "skerry.networks.octaspace.errors",
    "OctaUnavailableError": "skerry.networks.octaspace.errors",
    "OctaUnsupportedError": "skerry.networks.octaspace.errors",
    "OctaValidationError": "skerry.networks.octaspace.errors",
    "Rating": "skerry.networks.octaspace.machines",
    "RawResponse": "skerry._kernel.raw",
    "Reliability": "skerry.networks.octaspace.machines",
    "Render": "skerry.networks.octaspace._sync.services",
    "RenderMachine": "skerry.networks.octaspace.machines",
    "RequestContext": "skerry.networks.octaspace.interception",
    "RequestOptions": "skerry._kernel.options",
    "ResponseContext": "skerry.networks.octaspace.interception",
    "SavedFile": "skerry.networks.octaspace.downloads",
    "ServiceInfo": "skerry.networks.octaspace.models",
    "Services": "skerry.networks.octaspace._sync.services",
    "Session": "skerry.networks.octaspace._sync.session",
    "SessionLogs": "skerry.networks.octaspace.models",
    "SessionNodeHw": "skerry.networks.octaspace.models",
    "SessionPrices": "skerry.networks.octaspace.models",
    "Sessions": "skerry.networks.octaspace._sync.sessions",
    "SshAccess": "skerry.networks.octaspace.models",
    "Started": "skerry.networks.octaspace.models",
    "SystemLogEntry": "skerry.networks.octaspace.models",
    "VERSION": "skerry.networks.octaspace.config",
    "Vpn": "skerry.networks.octaspace._sync.services",
    "VpnNode": "skerry.networks.octaspace.machines",
    "VpnProtocol": "skerry.networks.octaspace.inputs",
    "VpnSubkind": "skerry.networks.octaspace.inputs",
    "Wallet": "skerry.networks.octaspace.models",
}

__all__ = [
    "NOT_GIVEN",
    "VERSION",
    "Account",
    "Accounts",
    "App",
    "Apps",
    "AsyncAccounts",
    "AsyncApps",
    "AsyncIdleJobs",
    "AsyncMachineRental",
    "AsyncNetwork",
    "AsyncNodes",
    "AsyncOctaSpace",
    "AsyncRender",
    "AsyncServices",
    "AsyncSession",
    "AsyncSessions",
    "AsyncVpn",
    "Balance",
    "BlockchainInfo",
    "CallOptions",
    "Deadline",
    "Disk",
    "Download",
    "Gpu",
    "Hooks",
    "IdleJob",
    "IdleJobs",
    "Location",
    "MachineRental",
    "Memory",
    "MrMachine",
    "Network",
    "NetworkNodes",
    "NetworkPower",
    "NetworkStats",
    "Node",
    "NodeDetail",
    "NodeDetailData",
    "NodePrices",
    "NodeSystem",
    "Nodes",
    "OctaAbortedError",
    "OctaApiError",
    "OctaAuthenticationError",
    "OctaBadRequestError",
    "OctaConflictError",
    "OctaDecodeError",
    "OctaError",
    "OctaNetworkError",
    "OctaNodeBusyError",
    "OctaNotFoundError",
    "OctaPaymentRequiredError",
    "OctaPermissionError",
    "OctaProvisionBusyError",
    "OctaProvisionInvalidError",
    "OctaProvisionNoCapacityError",
    "OctaProvisionNotFoundError",
    "OctaProvisionPaymentRequiredError",
    "OctaProvisionRejectedError",
    "OctaProvisionServerError",
    "OctaRateLimitError",
    "OctaServerError",
    "OctaSessionEndedError",
    "OctaSpace",
    "OctaTimeoutError",
    "OctaUnavailableError",
    "OctaUnsupportedError",
    "OctaValidationError",
    "Rating",
    "RawResponse",
    "Reliability",
    "Render",
    "RenderMachine",
    "RequestContext",
    "RequestOptions",
    "ResponseContext",
    "SavedFile",
    "ServiceInfo",
    "Services",
    "Session",
    "SessionLogs",
    "SessionNodeHw",
    "SessionPrices",
    "Sessions",
    "SshAccess",
    "Started",
    "SystemLogEntry",
    "Vpn",
    "VpnNode",
    "VpnProtocol",
    "VpnSubkind",
    "Wallet",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
