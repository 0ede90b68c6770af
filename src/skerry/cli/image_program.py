"""Options that say what an image shall run, shared by the commands that make one."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def program_options(command: F) -> F:
    """Add the options; the command gets one `program`."""

    @functools.wraps(command)
    def combined(
        *args: Any,
        entrypoint: str | None,
        cmd: str | None,
        env: tuple[str, ...],
        workdir: str | None,
        user: str | None,
        **rest: Any,
    ) -> Any:
        # Loaded here, because the command line starts without it.
        from skerry.island.admin.models import ProgramChoice

        program = ProgramChoice(
            entrypoint=_words("--entrypoint", entrypoint),
            command=_words("--cmd", cmd),
            working_dir=workdir,
            user=user,
            env=dict(map(_variable, env)),
        )
        return command(*args, program=program, **rest)

    for option in (
        click.option("--user", metavar="USER[:GROUP]", help="As whom it runs; root otherwise."),
        click.option("--workdir", metavar="DIR", help="Directory in which it starts."),
        click.option("--env", multiple=True, metavar="NAME=VALUE", help="A variable that it has."),
        click.option("--cmd", metavar="WORDS", help="Arguments after the entrypoint, quoted as for a shell."),
        click.option("--entrypoint", metavar="WORDS", help="Program that it runs, quoted as for a shell."),
    ):
        combined = option(combined)
    return combined  # type: ignore[return-value]


def _words(option: str, text: str | None) -> list[str] | None:
    if text is None:
        return None
    try:
        return shlex.split(text)
    except ValueError as error:
        raise click.UsageError(f"{option} cannot be read: {error}") from None


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"{text!r} is not NAME=VALUE")
    return name, value
