"""What `skerry machine` and `skerry vpn` share: OctaSpace's public client, sessions by their id, and how they look."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skerry.cli import exits, output
from skerry.cli.networks import NETWORKS
from skerry.cli.places import Place, Target, target
from skerry.errors import DeadlineExceededError, InvalidRequestError, NotFoundError, SkerryError

if TYPE_CHECKING:
    from skerry.networks.octaspace import OctaSpace, ServiceInfo, Session

NAME = "octaspace"
POLL = 0.25
_COMPLETION_SECONDS, _COMPLETION_SECONDS_HERE = 2.0, 30.0
"""How long a shell that completes an id waits for a network, and for this machine's island, whose answer does come."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A client, and whose it is.

    Args:
        client: of the network.
        target: whom it asks.
    """

    client: OctaSpace
    target: Target


@contextmanager
def asking(place: Place | None, directory: Path, *, start: bool = False) -> Iterator[Asked]:
    """The network's client, closed at the end of the block.

    Args:
        place: as chosen on the command line.
        directory: the island's.
        start: begin an island when there is none.
    """
    network = NETWORKS[NAME]
    where = target(network, place, directory, start=start)
    try:
        with network.connect(**where.settings) as client:
            yield Asked(client, where)
    except SkerryError as error:
        where.explain(error)
        raise


def sessions(client: OctaSpace, service: str, *, ended: bool = False) -> list[ServiceInfo]:
    """Sessions of one service, the newest first; those that have ended lately too, if asked for."""
    found = [one for one in client.sessions.list(recent=ended or None) if one.service == service]
    return sorted(found, key=lambda one: (one.finished, -_number(one.started_at)))


def session(client: OctaSpace, word: str, service: str, *, ended: bool = False) -> ServiceInfo:
    """The session that a word means: its id, or the beginning of one.

    Raises:
        NotFoundError: there is none. InvalidRequestError: there are several, or nothing was said.
    """
    if not word:
        # Every id begins with it: a variable that was never set must not stop the only machine there is.
        raise InvalidRequestError("an id is empty; write at least the beginning of one")
    word = word.lower()
    found = [one for one in sessions(client, service, ended=ended) if (one.uuid or "").startswith(word)]
    exact = [one for one in found if one.uuid == word]
    if len(found) == 1 or exact:
        return (exact or found)[0]
    if not found:
        noun = "machine" if service == "mr" else service
        raise NotFoundError(f"there is no {noun} {word!r}; see `skerry {noun} ls`", network=NAME)
    raise InvalidRequestError(f"{word!r} is the beginning of {len(found)} ids; write more of it")


def wait(started: Session, timeout: float, *, then: str) -> ServiceInfo:
    """Until a session is ready, with its progress told to whoever watches.

    Args:
        started: just now.
        timeout: seconds.
        then: what becomes of it when the time is up, for the message.

    Raises:
        DeadlineExceededError: the time is up. OctaSessionEndedError: it ended before; the message says why.
        SkerryError: it cannot be asked for.
    """
    from skerry.networks.octaspace import OctaSessionEndedError

    def tell(info: ServiceInfo) -> None:
        if output.drawable(sys.stderr):
            output.note(f"skerry: {info.progress}")

    try:
        return started.wait_ready(timeout=timeout, poll=POLL, on_change=tell)
    except DeadlineExceededError:
        text = f"session {started.uuid} was not ready within {timeout:g} s; {then}"
        raise DeadlineExceededError(text, network=NAME) from None
    except OctaSessionEndedError as error:
        words = _last_words(started)
        if not words:
            raise
        text = f"session {started.uuid} ended before it was ready: {words}"
        ended = OctaSessionEndedError(text, session=error.session, network=NAME)
        exits.suggest(ended, "")  # the words say what to do, and `skerry status` does not
        raise ended from None


def _last_words(ended: Session) -> str:
    """What the platform said last of a session, which is why it ended; empty where nobody tells."""
    try:
        told = ended.logs(recent=True).system or ()
    except SkerryError:
        return ""
    return next((entry.msg.strip() for entry in reversed(told) if entry.msg and entry.msg.strip()), "")


def complete(service: str) -> Any:
    """Ids of sessions, for the shell; none when nobody answers."""

    def find(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        try:
            with asking(context.params.get("place"), _directory(context)) as asked:
                patience = _COMPLETION_SECONDS if asked.target.link is None else _COMPLETION_SECONDS_HERE
                found = sessions(asked.client.with_options(timeout=patience, retries=0), service)
        except (SkerryError, OSError):
            return []
        return [one.uuid for one in found if one.uuid and one.uuid.startswith(incomplete)]

    return find


def plain(info: ServiceInfo) -> dict[str, Any]:
    """A session as JSON, without what its environment and its configuration may hold."""
    facts = info.to_dict()
    return {name: value for name, value in facts.items() if name not in ("config", "user_envs", "ssh_web")}


def state(info: ServiceInfo) -> str:
    """How a session stands, in a word or two."""
    if info.finished:
        return str(info.termination or "ended")
    return "ready" if info.ready else str(info.progress or "starting")


def since(info: ServiceInfo) -> str:
    """When a session began."""
    began = info.started
    return began.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if isinstance(began, datetime) else ""


def price(amount: Any) -> str:
    """An amount for a table, to six digits after the point."""
    return "" if amount is None else f"{amount.decimal:.6f} {amount.currency}"


def _directory(context: click.Context) -> Path:
    from skerry.cli.island_link import data_dir

    return context.params.get("directory") or data_dir()


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0
