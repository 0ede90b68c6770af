"""`skerry completion`: what a shell needs to complete our command line."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the completion script of a shell.

    \b
    eval "$(skerry completion bash)"                    in ~/.bashrc
    eval "$(skerry completion zsh)"                     in ~/.zshrc
    skerry completion fish > ~/.config/fish/completions/skerry.fish
    """
    from skerry.cli.main import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(cli, {}, "skerry", "_SKERRY_COMPLETE").source())
    return 0
