"""Where a command's calls go: to the island of the data directory, or to whom the client's own variables name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from skerry.cli import exits, island_link, output
from skerry.cli.options import data_dir_option

if TYPE_CHECKING:
    from skerry.cli.island_link import Link
    from skerry.cli.networks import Network
    from skerry.errors import SkerryError

Place = Literal["hosted", "island"]
F = TypeVar("F", bound=Callable[..., Any])


def place_options(command: F) -> F:
    """Add `--hosted`, `--island` and `--data-dir`; they arrive as `place` and `directory`."""
    command = data_dir_option(command)
    hosted, island = "Ask whom the client's own variables name.", "Ask the island of the data directory."
    command = click.option("--island", "place", flag_value="island", help=island)(command)
    return click.option("--hosted", "place", flag_value="hosted", help=hosted)(command)


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask.

    Args:
        settings: arguments of the network's client; empty when its own variables decide.
        link: the island, if it is one of a data directory.
        variables: those that decided.
        network: whose calls.
    """

    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    link: Link | None = None
    variables: tuple[str, ...] = ()
    network: str = ""

    @contextmanager
    def transport(self) -> Iterator[dict[str, Any]]:
        """The argument that keeps the owner's key from the environment's proxies; none where it is not used."""
        if self.link is None or not self.link.operator_settings(self.network):
            yield {}
            return
        import httpx2

        with httpx2.Client(trust_env=False) as connections:
            yield {"transport": connections}

    def explain(self, error: SkerryError) -> None:
        """Let an error say that the wrong place may have been asked, if this one was not the island."""
        if self.link is None:
            exits.suggest(error, elsewhere(self.variables))


def target(network: Network, place: Place | None, directory: Path, *, start: bool = True) -> Target:
    """Whom to ask: what was said, else what the environment says, else the island.

    Args:
        network: whose calls.
        place: as chosen on the command line.
        directory: the island's.
        start: begin an island when there is none.
    """
    context = click.get_current_context(silent=True)
    commanded = click.core.ParameterSource.COMMANDLINE
    if place is None and context is not None and context.get_parameter_source("directory") is commanded:
        place = "island"
    variables = [] if place == "island" else network.set_variables()
    if place == "hosted" or variables:
        return Target(variables=tuple(variables))
    link = island_link.ensure(directory, output.note) if start else island_link.need(directory)
    return Target(
        {**link.client_settings(network.name), **link.operator_settings(network.name)}, link, network=network.name
    )


def elsewhere(variables: tuple[str, ...]) -> str:
    """What to try when nobody, or somebody else, answered."""
    if variables:
        return f"{', '.join(variables)} said whom to ask; --island asks the island of the data directory"
    return "--hosted asks whom the client's own variables name; --island asks the island of the data directory"
