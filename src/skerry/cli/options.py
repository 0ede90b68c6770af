"""Options that several commands share, and the values they take."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from skerry.errors import InvalidRequestError
from skerry.times import parse_duration
from skerry.units import MIB, parse_size

F = TypeVar("F", bound=Callable[..., Any])


class Duration(click.ParamType[float]):
    """Seconds, from `90`, `500ms`, `15m` or `1h30m`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse, or fail as a usage error."""
        try:
            seconds = parse_duration(value)
        except InvalidRequestError as error:
            self.fail(str(error), param, ctx)
        if seconds <= 0:
            self.fail(f"{value!r} is no time at all; write 90, 500ms, 15m or 1h30m", param, ctx)
        return seconds


class Size(click.ParamType[int]):
    """Bytes, from `4096`, `512M` or `1.5GiB`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse, or fail as a usage error."""
        try:
            size = parse_size(value)
        except InvalidRequestError as error:
            self.fail(str(error), param, ctx)
        if not size:
            # Nothing runs in that, and nobody would guess that it stands for the usual bound.
            self.fail(f"{value!r} is nothing at all; write 4096, 512M or 1.5GiB", param, ctx)
        if size >= 1 << 63:
            self.fail(f"{value!r} is more than any machine has", param, ctx)
        return size


class Network(click.ParamType[dict[str, Any]]):
    """A network policy in Arker's words, from `none`, `open`, `allow:HOST,...` or `block:HOST,...`."""

    name = "policy"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """Parse, or fail as a usage error."""
        if isinstance(value, dict):
            return value
        mode, _, rest = str(value).partition(":")
        hosts = [host.strip() for host in rest.split(",") if host.strip()]
        if mode == "none" and not rest:
            return {"type": "blocked"}
        if mode == "open" and not rest:
            return {"type": "open"}
        if mode not in {"allow", "block"} or not hosts:
            self.fail(f"{value!r} is not a policy; write none, open, allow:HOST,... or block:HOST,...", param, ctx)
        return {"type": mode, mode: hosts}


class _Directory(click.Path):
    """A directory that may not be there yet."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse, or fail as a usage error: a variable that is not set would else mean where we are."""
        if value == "":
            self.fail("it is empty; name a directory, or leave the option out", param, ctx)
        return super().convert(value, param, ctx)


def data_dir_option(command: F) -> F:
    """Add `--data-dir`; it arrives as `directory`, absolute."""
    return click.option(
        "--data-dir",
        "directory",
        type=_Directory(),
        callback=_data_dir,
        help="The island's data directory (SKERRY_DATA_DIR).",
    )(command)


def _data_dir(_: click.Context, __: click.Parameter, value: Path | None) -> Path:
    from skerry.cli.island_link import data_dir

    return data_dir(value)


def machine_options(command: F) -> F:
    """Add what a new sandbox can be given: image, bounds, network, durability."""
    for option in reversed(
        [
            click.option("--image", help="Image to start from, such as ubuntu:24.04."),
            click.option("--cpus", type=click.IntRange(1, 255), help="Processors at most."),
            click.option("--memory", type=Size(), help="Memory at most, such as 512M."),
            click.option("--disk", type=Size(), help="Written bytes at most, such as 2G."),
            click.option("--network", type=Network(), help="none, open, allow:HOST,... or block:HOST,..."),
            click.option("--durable", is_flag=True, help="Start a run again if the server is lost during it."),
        ]
    ):
        command = option(command)
    return command


def fork_arguments(
    *,
    image: str | None,
    cpus: int | None,
    memory: int | None,
    disk: int | None,
    network: dict[str, Any] | None,
    durable: bool,
) -> dict[str, Any]:
    """Keyword arguments of `Computer.fork`; sizes become whole MiB, rounded up."""
    values = {
        "image": image,
        "vcpu_count": cpus,
        "memory_mib": None if memory is None else -(-memory // MIB),
        "disk_mib": None if disk is None else -(-disk // MIB),
        "network": network,
        "durable": True if durable else None,
    }
    return {name: value for name, value in values.items() if value is not None}


def environment(pairs: tuple[str, ...]) -> dict[str, str]:
    """From `NAME=VALUE`, or `NAME` alone for our own value of it.

    Raises:
        InvalidRequestError: no name, or a name alone that is not set here.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name:
            raise InvalidRequestError(f"{pair!r} names no variable; write NAME=VALUE")
        if not equals:
            if name not in os.environ:
                raise InvalidRequestError(f"{name} is not set here; write {name}=VALUE")
            value = os.environ[name]
        found[name] = value
    return found
