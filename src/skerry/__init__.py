"""One Python library, one command line and one self-hosted network for compute.

    from skerry import Arker

    with Arker(region="aws-us-west-2") as arker:
        vm = arker.vm("ubuntu").fork()
        print(vm.run("uname -a").stdout_text)

Nothing is imported until its name is used: `import skerry` costs next to nothing, and the server's libraries load
only with `skerry.Island`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skerry.errors import (
        AuthenticationError,
        BudgetExceededError,
        BusyError,
        ConfigurationError,
        ConflictError,
        ConnectionFailedError,
        DeadlineExceededError,
        InvalidRequestError,
        NoCapacityError,
        NotFoundError,
        PayloadTooLargeError,
        PaymentRequiredError,
        PermissionDeniedError,
        ProtocolError,
        RateLimitedError,
        ServerError,
        SkerryError,
        UnavailableError,
        UnsupportedError,
    )
    from skerry.island.island import Island
    from skerry.money import Money
    from skerry.networks.arker import Arker, ArkerError, AsyncArker
    from skerry.networks.dc1 import DC1, AsyncDC1
    from skerry.networks.dispersed import AsyncDispersed, Dispersed
    from skerry.networks.octaspace import AsyncOctaSpace, OctaSpace

__version__: str

_HOME = {
    "Arker": "skerry.networks.arker",
    "ArkerError": "skerry.networks.arker",
    "AsyncArker": "skerry.networks.arker",
    "AsyncDC1": "skerry.networks.dc1",
    "AsyncDispersed": "skerry.networks.dispersed",
    "AsyncOctaSpace": "skerry.networks.octaspace",
    "DC1": "skerry.networks.dc1",
    "Dispersed": "skerry.networks.dispersed",
    "Island": "skerry.island.island",
    "Money": "skerry.money",
    "OctaSpace": "skerry.networks.octaspace",
}

__all__ = [
    "DC1",
    "Arker",
    "ArkerError",
    "AsyncArker",
    "AsyncDC1",
    "AsyncDispersed",
    "AsyncOctaSpace",
    "AuthenticationError",
    "BudgetExceededError",
    "BusyError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "DeadlineExceededError",
    "Dispersed",
    "InvalidRequestError",
    "Island",
    "Money",
    "NoCapacityError",
    "NotFoundError",
    "OctaSpace",
    "PayloadTooLargeError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "ProtocolError",
    "RateLimitedError",
    "ServerError",
    "SkerryError",
    "UnavailableError",
    "UnsupportedError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'skerry' has no attribute {name!r}")
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("skerry")
    else:
        from importlib import import_module

        value = getattr(import_module(_HOME.get(name, "skerry.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
