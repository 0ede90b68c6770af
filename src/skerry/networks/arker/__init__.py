"""The Arker VM network: fork machines, run commands in them, read and write their files.

>>> from skerry.networks.arker import Arker
>>> with Arker(region="aws-us-west-2") as arker:  # doctest: +SKIP
...     vm = arker.vm("ubuntu").fork(name="hello")
...     print(vm.run("uname -a").stdout_text)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry._lazy import lazy

if TYPE_CHECKING:
    from skerry._kernel.hooks import ErrorSeen, Hooks, RequestSeen, ResponseSeen, RetrySeen
    from skerry._kernel.model import NOT_GIVEN
    from skerry._kernel.options import Deadline, RequestOptions
    from skerry._kernel.raw import RawResponse
    from skerry.networks.arker._async.client import AsyncArker
    from skerry.networks.arker._async.computer import AsyncComputer
    from skerry.networks.arker._sync.client import Arker
    from skerry.networks.arker._sync.computer import Computer
    from skerry.networks.arker.config import RetryOptions
    from skerry.networks.arker.errors import ArkerError
    from skerry.networks.arker.models import (
        ForkOptions,
        ForkRequest,
        ForkVmResponse,
        GoldenInfo,
        MountRequest,
        NetworkPolicy,
        NetworkPolicyInput,
        RunOptions,
        RunRequest,
        RunStatusResponse,
        SessionInfo,
        VmInfo,
        VmList,
        VmSummary,
    )
    from skerry.networks.arker.results import BackgroundRunResult, CompletedRunResult, PtyRunResult, RunResult
    from skerry.networks.arker.transfer import CHUNK_SIZE

# Loaded on first use, so that a synchronous program never loads the asynchronous client, nor the reverse.
_HOME = {
    "Arker": "skerry.networks.arker._sync.client",
    "ArkerError": "skerry.networks.arker.errors",
    "AsyncArker": "skerry.networks.arker._async.client",
    "AsyncComputer": "skerry.networks.arker._async.computer",
    "BackgroundRunResult": "skerry.networks.arker.results",
    "CHUNK_SIZE": "skerry.networks.arker.transfer",
    "CompletedRunResult": "skerry.networks.arker.results",
    "Computer": "skerry.networks.arker._sync.computer",
    "Deadline": "skerry._kernel.options",
    "ErrorSeen": "skerry._kernel.hooks",
    "ForkOptions": "skerry.networks.arker.models",
    "ForkRequest": "skerry.networks.arker.models",
    "ForkVmResponse": "skerry.networks.arker.models",
    "GoldenInfo": "skerry.networks.arker.models",
    "Hooks": "skerry._kernel.hooks",
    "MountRequest": "skerry.networks.arker.models",
    "NOT_GIVEN": "skerry._kernel.model",
    "NetworkPolicy": "skerry.networks.arker.models",
    "NetworkPolicyInput": "skerry.networks.arker.models",
    "PtyRunResult": "skerry.networks.arker.results",
    "RawResponse": "skerry._kernel.raw",
    "RequestOptions": "skerry._kernel.options",
    "RequestSeen": "skerry._kernel.hooks",
    "ResponseSeen": "skerry._kernel.hooks",
    "RetryOptions": "skerry.networks.arker.config",
    "RetrySeen": "skerry._kernel.hooks",
    "RunOptions": "skerry.networks.arker.models",
    "RunRequest": "skerry.networks.arker.models",
    "RunResult": "skerry.networks.arker.results",
    "RunStatusResponse": "skerry.networks.arker.models",
    "SessionInfo": "skerry.networks.arker.models",
    "VmInfo": "skerry.networks.arker.models",
    "VmList": "skerry.networks.arker.models",
    "VmSummary": "skerry.networks.arker.models",
}

__all__ = [
    "CHUNK_SIZE",
    "NOT_GIVEN",
    "Arker",
    "ArkerError",
    "AsyncArker",
    "AsyncComputer",
    "BackgroundRunResult",
    "CompletedRunResult",
    "Computer",
    "Deadline",
    "ErrorSeen",
    "ForkOptions",
    "ForkRequest",
    "ForkVmResponse",
    "GoldenInfo",
    "Hooks",
    "MountRequest",
    "NetworkPolicy",
    "NetworkPolicyInput",
    "PtyRunResult",
    "RawResponse",
    "RequestOptions",
    "RequestSeen",
    "ResponseSeen",
    "RetryOptions",
    "RetrySeen",
    "RunOptions",
    "RunRequest",
    "RunResult",
    "RunStatusResponse",
    "SessionInfo",
    "VmInfo",
    "VmList",
    "VmSummary",
]

__getattr__, __dir__ = lazy(__name__, _HOME, __all__)
