"""The root of the command tree: names and one-line helps here, everything else imported on first use."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

ROOT_COMMANDS = {
    "run": ("skerry.cli.run:run", "Run a command in a fresh sandbox."),
    "up": ("skerry.cli.up:up", "Start the island on this machine."),
    "down": ("skerry.cli.up:down", "Stop the island."),
    "status": ("skerry.cli.status:status", "Show whether the island runs, and what it holds."),
    "env": ("skerry.cli.status:env", "Print the environment that points clients at the island."),
    "doctor": ("skerry.cli.doctor:doctor", "Check what this machine can isolate, limit and build."),
    "reset": ("skerry.cli.up:reset", "Delete everything that the island holds."),
    "sandbox": ("skerry.cli.sandbox:sandbox", "List, fork, enter and remove sandboxes."),
    "machine": ("skerry.cli.machine:machine", "Rent machines, and log in to them."),
    "vpn": ("skerry.cli.vpn:vpn", "Start VPN relays, and print their configuration."),
    "image": ("skerry.cli.image:image", "List, pull, build, import and remove images."),
    "model": ("skerry.cli.model:model", "List, add, fetch and remove language models."),
    "render": ("skerry.cli.render:render", "Install Blender for the island, and measure how fast it renders."),
    "diffusion": ("skerry.cli.diffusion:diffusion", "Install diffusers for the island, and draw pictures."),
    "provider": ("skerry.cli.provider:provider", "Work for a DC1 platform: register, take jobs, see what they earn."),
    "call": ("skerry.cli.call:call", "Make any call of a network."),
    "key": ("skerry.cli.key:key", "List, make and revoke API keys of the island."),
    "credit": ("skerry.cli.credit:credit", "Add credit to an account of the island."),
    "logs": ("skerry.cli.logs:logs", "Print what a run has written."),
    "completion": ("skerry.cli.completion:completion", "Print the completion script of a shell."),
}


class ReaderGone(Exception):
    """Nobody reads our output any more."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one only to run it, or to show its own help."""

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy or {}

    def invoke(self, ctx: click.Context) -> Any:
        """As click does, but a closed pipe stays what it is: click would end us with status 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGone from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order they were given."""
        return [*self.lazy, *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of this name."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self.lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing one."""
        rows = [(name, text) for name, (_, text) in self.lazy.items()]
        rows += [(name, command.get_short_help_str(100)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a guess at what a mistyped name was meant to be."""
        name = str(args[0])
        if not name.startswith("-") and name not in self.list_commands(ctx):
            guesses = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f" Did you mean `{guesses[0]}`?" if guesses else ""
            raise click.UsageError(f"No such command `{name}`.{hint}", ctx)
        return super().resolve_command(ctx, args)


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        import skerry

        click.echo(f"skerry {skerry.__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    lazy=ROOT_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit statuses, data directory and environment: docs/how-to/command-line.md",
)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version.")
def cli() -> None:
    """Sandboxes on a network that you own.

    \b
    skerry run -- python3 -c 'print(6 * 7)'     no account, no set-up
    skerry up                                   keep the island running, print its addresses
    skerry doctor                               see what this machine can do
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its status (see `skerry.cli.exits`)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _stand_in()
    sys.exit(_run(words))


def _stand_in() -> None:
    """Put the null device where a standard stream is closed, before a socket takes its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - it stays open as long as we live


def _give_up_stdout() -> None:
    """Keep what is still buffered from raising again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(words: list[str]) -> int:
    try:
        status = cli.main(args=words, prog_name="skerry", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, ReaderGone):
        _give_up_stdout()
        return 141
    except (click.Abort, KeyboardInterrupt):
        click.echo(err=True)
        return 130
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return 2
    except click.ClickException as error:
        from skerry.cli import output

        output.print_error(error, error.exit_code, as_json=output.wants_json(words))
        return error.exit_code
    except Exception as error:
        from skerry.cli import exits, output
        from skerry.errors import SkerryError

        if os.environ.get("SKERRY_DEBUG") or not isinstance(error, SkerryError | OSError):
            raise
        code = exits.status_of(error)
        output.print_error(error, code, as_json=output.wants_json(words))
        try:
            sys.stdout.flush()
        except OSError:
            _give_up_stdout()
        return code
    return status if isinstance(status, int) else 0
