"""The Dispersed network: submit containers as jobs to machines with GPUs, watch their runs, pay by the time they run.

>>> from skerry.networks.dispersed import Dispersed
>>> with Dispersed() as dispersed:  # doctest: +SKIP
...     for job in dispersed.jobs.list(status="RUNNING"):
...         print(job.uuid, job.title)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skerry._kernel.hooks import Hooks
    from skerry._kernel.interception import RequestInfo, ResponseInfo
    from skerry._kernel.model import NOT_GIVEN
    from skerry._kernel.options import Deadline, RequestOptions
    from skerry._kernel.raw import RawResponse
    from skerry.networks.dispersed._async.client import AsyncDispersed
    from skerry.networks.dispersed._async.resource import AsyncPage
    from skerry.networks.dispersed._sync.client import Dispersed
    from skerry.networks.dispersed._sync.resource import Page
    from skerry.networks.dispersed.config import VERSION
    from skerry.networks.dispersed.errors import (
        ApiError,
        DispersedCancelledError,
        DispersedConnectionError,
        DispersedDecodeError,
        DispersedError,
        DispersedTimeoutError,
    )
    from skerry.networks.dispersed.inputs import (
        CallOptions,
        CancelInput,
        CookInput,
        DockerParameters,
        JobInput,
        JobRecipeInput,
        JobRecipeUpdate,
        ListOptions,
        SshPublicKeyInput,
        SshPublicKeyUpdate,
        WriteOptions,
    )
    from skerry.networks.dispersed.models import (
        Account,
        AccountBalance,
        AccountConsumerSummary,
        AccountSpendSummary,
        ApiKey,
        CostSummary,
        GpuRegistryEntry,
        Job,
        JobRecipe,
        JobRun,
        LedgerAuthorization,
        LedgerTransaction,
        NodeUrl,
        Reward,
        SshPublicKey,
    )

# Loaded on first use, so that a synchronous program never loads the asynchronous client, nor the reverse.
_HOME = {
    "Account": "skerry.networks.dispersed.models",
    "AccountBalance": "skerry.networks.dispersed.models",
    "AccountConsumerSummary": "skerry.networks.dispersed.models",
    "AccountSpendSummary": "skerry.networks.dispersed.models",
    "ApiError": "skerry.networks.dispersed.errors",
    "ApiKey": "skerry.networks.dispersed.models",
    "AsyncDispersed": "skerry.networks.dispersed._async.client",
    "AsyncPage": "skerry.networks.dispersed._async.resource",
    "CallOptions": "skerry.networks.dispersed.inputs",
    "CancelInput": "skerry.networks.dispersed.inputs",
    "CookInput": "skerry.networks.dispersed.inputs",
    "CostSummary": "skerry.networks.dispersed.models",
    "Deadline": "skerry._kernel.options",
    "Dispersed": "skerry.networks.dispersed._sync.client",
    "DispersedCancelledError": "skerry.networks.dispersed.errors",
    "DispersedConnectionError": "skerry.networks.dispersed.errors",
    "DispersedDecodeError": "skerry.networks.dispersed.errors",
    "DispersedError": "skerry.networks.dispersed.errors",
    "DispersedTimeoutError": "skerry.networks.dispersed.errors",
    "DockerParameters": "skerry.networks.dispersed.inputs",
    "GpuRegistryEntry": "skerry.networks.dispersed.models",
    "Hooks": "skerry._kernel.hooks",
    "Job": "skerry.networks.dispersed.models",
    "JobInput": "skerry.networks.dispersed.inputs",
    "JobRecipe": "skerry.networks.dispersed.models",
    "JobRecipeInput": "skerry.networks.dispersed.inputs",
    "JobRecipeUpdate": "skerry.networks.dispersed.inputs",
    "JobRun": "skerry.networks.dispersed.models",
    "LedgerAuthorization": "skerry.networks.dispersed.models",
    "LedgerTransaction": "skerry.networks.dispersed.models",
    "ListOptions": "skerry.networks.dispersed.inputs",
    "NOT_GIVEN": "skerry._kernel.model",
    "NodeUrl": "skerry.networks.dispersed.models",
    "Page": "skerry.networks.dispersed._sync.resource",
    "RawResponse": "skerry._kernel.raw",
    "RequestInfo": "skerry._kernel.interception",
    "RequestOptions": "skerry._kernel.options",
    "ResponseInfo": "skerry._kernel.interception",
    "Reward": "skerry.networks.dispersed.models",
    "SshPublicKey": "skerry.networks.dispersed.models",
    "SshPublicKeyInput": "skerry.networks.dispersed.inputs",
    "SshPublicKeyUpdate": "skerry.networks.dispersed.inputs",
    "VERSION": "skerry.networks.dispersed.config",
    "WriteOptions": "skerry.networks.dispersed.inputs",
}

__all__ = [
    "NOT_GIVEN",
    "VERSION",
    "Account",
    "AccountBalance",
    "AccountConsumerSummary",
    "AccountSpendSummary",
    "ApiError",
    "ApiKey",
    "AsyncDispersed",
    "AsyncPage",
    "CallOptions",
    "CancelInput",
    "CookInput",
    "CostSummary",
    "Deadline",
    "Dispersed",
    "DispersedCancelledError",
    "DispersedConnectionError",
    "DispersedDecodeError",
    "DispersedError",
    "DispersedTimeoutError",
    "DockerParameters",
    "GpuRegistryEntry",
    "Hooks",
    "Job",
    "JobInput",
    "JobRecipe",
    "JobRecipeInput",
    "JobRecipeUpdate",
    "JobRun",
    "LedgerAuthorization",
    "LedgerTransaction",
    "ListOptions",
    "NodeUrl",
    "Page",
    "RawResponse",
    "RequestInfo",
    "RequestOptions",
    "ResponseInfo",
    "Reward",
    "SshPublicKey",
    "SshPublicKeyInput",
    "SshPublicKeyUpdate",
    "WriteOptions",
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
