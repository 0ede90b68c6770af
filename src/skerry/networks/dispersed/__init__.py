"""The Dispersed network: submit containers as jobs to machines with GPUs, watch their runs, pay by the time they run.

>>> from skerry.networks.dispersed import Dispersed
>>> with Dispersed() as dispersed:  # doctest: +SKIP
...     for job in dispersed.jobs.list(status="RUNNING"):
...         print(job.uuid, job.title)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry._lazy import lazy

if TYPE_CHECKING:
    from skerry._kernel.hooks import Hooks
    from skerry._kernel.interception import RequestInfo, ResponseInfo
    from skerry._kernel.model import NOT_GIVEN
    from skerry._kernel.options import Deadline, RequestOptions
    from skerry._kernel.raw import RawResponse
    from skerry.networks.dispersed._async.accounts import AsyncAccounts
    from skerry.networks.dispersed._async.client import AsyncDispersed
    from skerry.networks.dispersed._async.compute import AsyncCompute
    from skerry.networks.dispersed._async.gpu_registry import AsyncGpuRegistry
    from skerry.networks.dispersed._async.job_recipes import AsyncJobRecipes
    from skerry.networks.dispersed._async.job_runs import AsyncJobRuns
    from skerry.networks.dispersed._async.jobs import AsyncJobs
    from skerry.networks.dispersed._async.keys import AsyncApiKeys, AsyncSshPublicKeys
    from skerry.networks.dispersed._async.resource import AsyncPage
    from skerry.networks.dispersed._sync.accounts import Accounts
    from skerry.networks.dispersed._sync.client import Dispersed
    from skerry.networks.dispersed._sync.compute import Compute
    from skerry.networks.dispersed._sync.gpu_registry import GpuRegistry
    from skerry.networks.dispersed._sync.job_recipes import JobRecipes
    from skerry.networks.dispersed._sync.job_runs import JobRuns
    from skerry.networks.dispersed._sync.jobs import Jobs
    from skerry.networks.dispersed._sync.keys import ApiKeys, SshPublicKeys
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
        ApiKeyFilters,
        ApiKeyInput,
        AuthorizationFilters,
        CallOptions,
        CancelInput,
        CookInput,
        DockerParameters,
        GpuFilters,
        JobFilters,
        JobInput,
        JobRecipeFilters,
        JobRecipeInput,
        JobRecipeUpdate,
        JobRunFilters,
        ListOptions,
        RewardFilters,
        SshPublicKeyFilters,
        SshPublicKeyInput,
        SshPublicKeyUpdate,
        TransactionFilters,
        WriteOptions,
    )
    from skerry.networks.dispersed.models import (
        Account,
        AccountBalance,
        AccountConsumerSummary,
        AccountSpendSummary,
        ApiKey,
        CostSummary,
        CreatedApiKey,
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
    "Accounts": "skerry.networks.dispersed._sync.accounts",
    "ApiError": "skerry.networks.dispersed.errors",
    "ApiKey": "skerry.networks.dispersed.models",
    "ApiKeyFilters": "skerry.networks.dispersed.inputs",
    "ApiKeyInput": "skerry.networks.dispersed.inputs",
    "ApiKeys": "skerry.networks.dispersed._sync.keys",
    "AsyncAccounts": "skerry.networks.dispersed._async.accounts",
    "AsyncApiKeys": "skerry.networks.dispersed._async.keys",
    "AsyncCompute": "skerry.networks.dispersed._async.compute",
    "AsyncDispersed": "skerry.networks.dispersed._async.client",
    "AsyncGpuRegistry": "skerry.networks.dispersed._async.gpu_registry",
    "AsyncJobRecipes": "skerry.networks.dispersed._async.job_recipes",
    "AsyncJobRuns": "skerry.networks.dispersed._async.job_runs",
    "AsyncJobs": "skerry.networks.dispersed._async.jobs",
    "AsyncPage": "skerry.networks.dispersed._async.resource",
    "AsyncSshPublicKeys": "skerry.networks.dispersed._async.keys",
    "AuthorizationFilters": "skerry.networks.dispersed.inputs",
    "CallOptions": "skerry.networks.dispersed.inputs",
    "CancelInput": "skerry.networks.dispersed.inputs",
    "Compute": "skerry.networks.dispersed._sync.compute",
    "CookInput": "skerry.networks.dispersed.inputs",
    "CostSummary": "skerry.networks.dispersed.models",
    "Deadline": "skerry._kernel.options",
    "CreatedApiKey": "skerry.networks.dispersed.models",
    "Dispersed": "skerry.networks.dispersed._sync.client",
    "DispersedCancelledError": "skerry.networks.dispersed.errors",
    "DispersedConnectionError": "skerry.networks.dispersed.errors",
    "DispersedDecodeError": "skerry.networks.dispersed.errors",
    "DispersedError": "skerry.networks.dispersed.errors",
    "DispersedTimeoutError": "skerry.networks.dispersed.errors",
    "DockerParameters": "skerry.networks.dispersed.inputs",
    "GpuFilters": "skerry.networks.dispersed.inputs",
    "GpuRegistry": "skerry.networks.dispersed._sync.gpu_registry",
    "GpuRegistryEntry": "skerry.networks.dispersed.models",
    "Hooks": "skerry._kernel.hooks",
    "Job": "skerry.networks.dispersed.models",
    "JobFilters": "skerry.networks.dispersed.inputs",
    "JobInput": "skerry.networks.dispersed.inputs",
    "JobRecipe": "skerry.networks.dispersed.models",
    "JobRecipeFilters": "skerry.networks.dispersed.inputs",
    "JobRecipeInput": "skerry.networks.dispersed.inputs",
    "JobRecipeUpdate": "skerry.networks.dispersed.inputs",
    "JobRecipes": "skerry.networks.dispersed._sync.job_recipes",
    "JobRun": "skerry.networks.dispersed.models",
    "JobRunFilters": "skerry.networks.dispersed.inputs",
    "JobRuns": "skerry.networks.dispersed._sync.job_runs",
    "Jobs": "skerry.networks.dispersed._sync.jobs",
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
    "RewardFilters": "skerry.networks.dispersed.inputs",
    "SshPublicKey": "skerry.networks.dispersed.models",
    "SshPublicKeyFilters": "skerry.networks.dispersed.inputs",
    "SshPublicKeyInput": "skerry.networks.dispersed.inputs",
    "SshPublicKeyUpdate": "skerry.networks.dispersed.inputs",
    "SshPublicKeys": "skerry.networks.dispersed._sync.keys",
    "TransactionFilters": "skerry.networks.dispersed.inputs",
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
    "Accounts",
    "ApiError",
    "ApiKey",
    "ApiKeyFilters",
    "ApiKeyInput",
    "ApiKeys",
    "AsyncAccounts",
    "AsyncApiKeys",
    "AsyncCompute",
    "AsyncDispersed",
    "AsyncGpuRegistry",
    "AsyncJobRecipes",
    "AsyncJobRuns",
    "AsyncJobs",
    "AsyncPage",
    "AsyncSshPublicKeys",
    "AuthorizationFilters",
    "CallOptions",
    "CancelInput",
    "Compute",
    "CookInput",
    "CostSummary",
    "CreatedApiKey",
    "Deadline",
    "Dispersed",
    "DispersedCancelledError",
    "DispersedConnectionError",
    "DispersedDecodeError",
    "DispersedError",
    "DispersedTimeoutError",
    "DockerParameters",
    "GpuFilters",
    "GpuRegistry",
    "GpuRegistryEntry",
    "Hooks",
    "Job",
    "JobFilters",
    "JobInput",
    "JobRecipe",
    "JobRecipeFilters",
    "JobRecipeInput",
    "JobRecipeUpdate",
    "JobRecipes",
    "JobRun",
    "JobRunFilters",
    "JobRuns",
    "Jobs",
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
    "RewardFilters",
    "SshPublicKey",
    "SshPublicKeyFilters",
    "SshPublicKeyInput",
    "SshPublicKeyUpdate",
    "SshPublicKeys",
    "TransactionFilters",
    "WriteOptions",
]

__getattr__, __dir__ = lazy(__name__, _HOME, __all__)
