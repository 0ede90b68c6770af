"""The networks that the command line can call: one row each, and what follows from it by convention.

A network named `n` keeps its client in `skerry.networks.n`, the settings of that client in
`skerry.island.environment`, and its calls in `skerry.networks.n.operations`: `OPERATIONS`, by name, and `METHODS`, the
client's method for each name, where that is not the name itself.
"""

from __future__ import annotations

import difflib
import inspect
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import click

from skerry.island.environment import SETTINGS

if TYPE_CHECKING:
    from skerry._kernel.dialect import Operation

T = TypeVar("T")

_IDENTIFIER = re.compile(r"\{(\w+)\}")
_FILLED_IN = frozenset({"key"})
"""What a client itself puts into a path: the caller's own key."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network.

    Attributes:
        name: such as `arker`.
        client: name of the synchronous client's class.
        summary: one line for people.
        older: variables beside those of `skerry.island.environment` that say which network is meant.
    """

    name: str
    client: str
    summary: str
    older: tuple[str, ...] = ()

    @property
    def operations(self) -> dict[str, Operation]:
        """Every call by name."""
        table: dict[str, Operation] = self._module.OPERATIONS
        return table

    def operation(self, name: str) -> Operation:
        """One call.

        Raises:
            click.UsageError: there is none of this name.
        """
        return chosen(name, self.operations, f"operation of {self.name}")

    def set_variables(self) -> list[str]:
        """Those of the client's variables that the environment has, settings of the place and the keys alike."""
        known = [setting.variable for setting in SETTINGS if setting.network == self.name]
        return [name for name in (*known, *self.older) if os.environ.get(name, "").strip()]

    def connect(self, **options: Any) -> Any:
        """A client with these arguments; what is missing comes from the environment."""
        client: Callable[..., Any] = getattr(import_module(f"skerry.networks.{self.name}"), self.client)
        # Not every client looks there by itself.
        return client(**{"environ": os.environ, **options})

    def unconnected(self) -> Any:
        """A client that leads nowhere, to be looked at."""
        settings = {s.argument: "http://127.0.0.1" if s.path else "none" for s in SETTINGS if s.network == self.name}
        return self.connect(**settings, environ={})

    def method(self, client: Any, operation: Operation, ids: Sequence[str]) -> tuple[Callable[..., Any], list[str]]:
        """The client's method for a call.

        Args:
            client: where to begin.
            operation: which call.
            ids: those of the call's path.

        Returns:
            The method, and the ids that are left for it: objects on the way, such as a VM, have taken theirs.
        """
        rest = list(ids)
        *owners, verb = getattr(self._module, "METHODS", {}).get(operation.name, operation.name).split(".")
        for name in owners:
            client = getattr(client, name)
            if inspect.isroutine(client):
                client = client(rest.pop(0))
        return getattr(client, verb), rest

    @property
    def _module(self) -> Any:
        return import_module(f"skerry.networks.{self.name}.operations")


NETWORKS = {
    network.name: network
    for network in (
        Network("arker", "Arker", "virtual machines that fork, and commands in them", ("ARKER_REGION",)),
        Network(
            "dispersed",
            "Dispersed",
            "containers as jobs on machines with GPUs",
            ("ZER_PUBLIC_KEY", "ZER_SECRET_KEY", "ZER_API_BASE_URL"),
        ),
        Network("octaspace", "OctaSpace", "machines by the hour, VPN relays and rendering"),
        Network(
            "dc1",
            "DC1",
            "GPUs by the minute: text, pictures, served models, containers",
            ("SKERRY_DC1_PROVIDER_KEY", "DC1_ADMIN_TOKEN"),
        ),
    )
}
"""By name."""


def network_named(name: str) -> Network:
    """A network.

    Raises:
        click.UsageError: there is none of this name.
    """
    return chosen(name, NETWORKS, "network")


def chosen(name: str, table: dict[str, T], what: str) -> T:
    """The member of a table by its name.

    Raises:
        click.UsageError: there is none; the message has the likeliest, or all.
    """
    if name in table:
        return table[name]
    guesses = difflib.get_close_matches(name, table, n=1)
    hint = f"Did you mean `{guesses[0]}`?" if guesses else f"There are {', '.join(table)}."
    raise click.UsageError(f"No such {what}: `{name}`. {hint}")


def identifiers(operation: Operation) -> list[str]:
    """Names of the ids in a call's path that a caller gives, in their order."""
    return [name for name in _IDENTIFIER.findall(operation.path) if name not in _FILLED_IN]


def complete_network(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Networks, for the shell."""
    return _beginning(NETWORKS, incomplete)


def complete_operation(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Calls of the network that the line names already, for the shell."""
    network = NETWORKS.get(context.params.get("network_name") or "")
    return _beginning(network.operations, incomplete) if network else []


def _beginning(names: Iterable[str], start: str) -> list[str]:
    return [name for name in names if name.startswith(start)]
