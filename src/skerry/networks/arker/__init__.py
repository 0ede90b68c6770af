"""The Arker VM network: fork machines, run commands in them, read and write their files.

>>> from skerry.networks.arker import Arker
>>> with Arker(region="aws-us-west-2") as arker:  # doctest: +SKIP
...     vm = arker.vm("ubuntu").fork(name="hello")
...     print(vm.run("uname -a").stdout_text)
"""

from __future__ import annotations

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
