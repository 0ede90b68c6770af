"""`skerry sandbox`: sandboxes that stay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skerry.cli import exits, island_link, output
from skerry.cli.main import LazyGroup
from skerry.cli.options import Duration, data_dir_option, environment, fork_arguments, machine_options
from skerry.cli.run import GOLDEN, announce, finish, read_stdin, start
from skerry.cli.sandbox_ids import complete_sandbox
from skerry.errors import NotFoundError

if TYPE_CHECKING:
    from skerry.networks.arker.models import VmInfo

LAZY = {
    "shell": ("skerry.cli.shell:shell", "Open a terminal in a sandbox."),
    "cp": ("skerry.cli.copy:cp", "Copy files into or out of a sandbox."),
    "ports": ("skerry.cli.ports:ports", "List the ports that listen in a sandbox, with their URLs."),
}


@click.group(cls=LazyGroup, lazy=LAZY)
def sandbox() -> None:
    """List, fork, enter and remove sandboxes."""


@sandbox.command()
@data_dir_option
@output.output_option
def ls(*, directory: Path, form: str) -> int:
    """List sandboxes."""
    with island_link.need(directory).arker() as arker:
        found = list(arker.list())
    if form == "json":
        output.print_json("sandboxes", {"sandboxes": [_plain(vm) for vm in found]})
        return exits.OK
    output.print_table(
        ["id", "name", "state", "image", "created"],
        [(vm.vm_id, vm.name, vm.state, vm.source_golden, vm.created_at[:16].replace("T", " ")) for vm in found],
        empty="no sandboxes; make one: skerry sandbox fork",
    )
    return exits.OK


@sandbox.command()
@click.argument("source", default=GOLDEN)
@click.option("--name", help="A name of your own; shown in lists.")
@machine_options
@data_dir_option
@output.output_option
def fork(
    source: str,
    *,
    name: str | None,
    image: str | None,
    cpus: int | None,
    memory: int | None,
    disk: int | None,
    network: dict[str, Any] | None,
    durable: bool,
    directory: Path,
    form: str,
) -> int:
    """Fork SOURCE, a sandbox or a golden such as `ubuntu`, and print the new id.

    Files come along as they are now; processes and memory do not.
    """
    forking = fork_arguments(image=image, cpus=cpus, memory=memory, disk=disk, network=network, durable=durable)
    if name:
        forking["name"] = name
    with island_link.ensure(directory, output.note).arker() as arker:
        child = arker.vm(source).fork(**forking)
    if form == "json":
        output.print_json("sandbox", {"id": child.id, "source": source})
    else:
        click.echo(child.id)
    return exits.OK


@sandbox.command(context_settings={"allow_interspersed_args": False})
@click.argument("sandbox_id", metavar="SANDBOX", shell_complete=complete_sandbox)
@click.option("--timeout", type=Duration(), help="End the command after this long, with status 124.")
@click.option("-e", "--env", "pairs", multiple=True, metavar="NAME[=VALUE]", help="Set a variable; repeatable.")
@click.option("-i", "--stdin", "with_stdin", is_flag=True, help="Give the command our standard input, read whole.")
@click.option("-d", "--detach", is_flag=True, help="Print the run's id and leave it running.")
@data_dir_option
@output.output_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    sandbox_id: str,
    command: tuple[str, ...],
    *,
    timeout: float | None,
    pairs: tuple[str, ...],
    with_stdin: bool,
    detach: bool,
    directory: Path,
    form: str,
) -> int:
    """Run a command in a sandbox that stays; its exit status is ours.

    It runs in the sandbox's default session, which keeps directory and variables between runs, and takes one command
    at a time; with `--env` or `--detach` in a session of its own.
    """
    words = command[1:] if command[0] == "--" else command
    if not words:
        raise click.UsageError("no command is given after `--`")
    if words is command and words[0].startswith("-"):
        raise click.UsageError("options come before SANDBOX, the command after `--`")
    env = environment(pairs)
    link = island_link.need(directory)
    stdin = read_stdin(with_stdin)
    with link.arker() as arker:
        vm = arker.vm(sandbox_id)
        # In the default session, whatever is left alone would keep every later command waiting.
        run_id = start(vm, words, timeout=timeout, env=env, stdin=stdin, apart=detach)
        if detach:
            return announce(sandbox_id, run_id, form)
        return finish(link, vm, run_id, form, remove=False)


@sandbox.command()
@click.argument("sandbox_ids", nargs=-1, required=True, metavar="SANDBOX...", shell_complete=complete_sandbox)
@data_dir_option
@output.output_option
def rm(sandbox_ids: tuple[str, ...], *, directory: Path, form: str) -> int:
    """Remove sandboxes and end what runs in them; their forks stay."""
    removed: list[str] = []
    absent: NotFoundError | None = None
    with island_link.need(directory).arker() as arker:
        for sandbox_id in sandbox_ids:
            try:
                arker.vm(sandbox_id).delete()
            except NotFoundError as error:
                # One name mistyped keeps none of the others.
                absent = absent or error
                continue
            removed.append(sandbox_id)
            if form == "table":
                click.echo(sandbox_id)
    if form == "json":
        output.print_json("sandboxes_removed", {"removed": removed})
    if absent is not None:
        raise absent
    return exits.OK


def _plain(vm: VmInfo) -> dict[str, Any]:
    import msgspec

    data: dict[str, Any] = msgspec.to_builtins(vm)
    return data
