"""`skerry run`: one command in a fresh sandbox."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from skerry.cli import exits, files, island_link, output
from skerry.cli.options import Duration, data_dir_option, environment, fork_arguments, machine_options
from skerry.cli.watch import Watch, dropped, run_json, status_of, summary
from skerry.errors import ConnectionFailedError, ProtocolError

if TYPE_CHECKING:
    from skerry.cli.island_link import Link
    from skerry.networks.arker import Computer

GOLDEN = "ubuntu"


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@machine_options
@click.option("--timeout", type=Duration(), help="End the command after this long, with status 124.")
@click.option("-e", "--env", "pairs", multiple=True, metavar="NAME[=VALUE]", help="Set a variable; repeatable.")
@click.option("-f", "--file", "specs", multiple=True, metavar="LOCAL[:REMOTE]", help="Copy in first; repeatable.")
@click.option("-i", "--stdin", "with_stdin", is_flag=True, help="Give the command our standard input, read whole.")
@click.option("-d", "--detach", is_flag=True, help="Print the run's id and leave it running.")
@click.option("--rm/--keep", "remove", default=True, help="Remove the sandbox when the command has ended (default).")
@data_dir_option
@output.output_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    command: tuple[str, ...],
    *,
    image: str | None,
    cpus: int | None,
    memory: int | None,
    disk: int | None,
    network: dict[str, Any] | None,
    durable: bool,
    timeout: float | None,
    pairs: tuple[str, ...],
    specs: tuple[str, ...],
    with_stdin: bool,
    detach: bool,
    remove: bool,
    directory: Path,
    form: str,
) -> int:
    """Run a command in a fresh sandbox, and remove the sandbox afterwards.

    The words after `--` are the program and its arguments, exactly; for shell syntax say `sh -c '...'`.
    Its exit status is ours. Ctrl-C once detaches, twice cancels. Starts an island if none runs.

    \b
    skerry run -- python3 -c 'print(6 * 7)'
    skerry run --network none --memory 256M --timeout 10 -f job.py -- python3 job.py
    skerry run -o json -- uname -a
    """
    env = environment(pairs)
    uploads = [files.parse_file(spec) for spec in specs]
    forking = fork_arguments(image=image, cpus=cpus, memory=memory, disk=disk, network=network, durable=durable)
    # Before there is a sandbox: reading may take as long as it likes, and be interrupted.
    stdin = read_stdin(with_stdin)
    link = island_link.ensure(directory, output.note)
    with link.arker() as arker:
        vm = arker.vm(GOLDEN).fork(**forking)
        try:
            for source, target in uploads:
                files.put(vm, source, target)
            run_id = start(vm, command, timeout=timeout, env=env, stdin=stdin)
        except BaseException:
            vm.delete()
            raise
        if detach:
            return announce(vm.id, run_id, form)
        status = finish(link, vm, run_id, form, remove=remove)
        if not remove and form == "table" and not output.drawable(sys.stderr):
            output.note(f"skerry: {vm.id} stays")
        return status


def start(
    vm: Computer,
    command: Sequence[str],
    *,
    timeout: float | None = None,
    env: dict[str, str] | None = None,
    stdin: bytes | None = None,
    apart: bool = False,
) -> str:
    """Start a program in a sandbox and return the run's id.

    Args:
        vm: the sandbox.
        command: the program and its arguments, exactly.
        timeout: seconds until it is ended.
        env: variables, given through a session of its own.
        stdin: what it finds on standard input.
        apart: in a session of its own even without variables.
    """
    line = shlex.join(command)
    if stdin is not None:
        staged = files.staging()
        vm.sync.write_file(staged, stdin)
        # Open first, then gone: nothing stays in the user's home, and no other run can take it for its own.
        line = f"{{ rm -f {staged} 2>/dev/null; {line}; }} < {staged}"
    # The key makes a repeated request, after a broken connection, find the run instead of starting another.
    options: dict[str, Any] = {"background": True, "idempotency_key": str(uuid4())}
    if timeout is not None:
        options["timeout_ms"] = max(1, round(timeout * 1000))
    if env or apart:
        options["session_id"] = vm.sessions.create(env=env).session_id
    started = vm.run(line, **options)
    if started.type != "background":
        raise ProtocolError("the island answered a background run with something else", network="arker")
    return started.run_id


def finish(link: Link, vm: Computer, run_id: str, form: str, *, remove: bool) -> int:
    """Follow a run to its end, print the result, tidy up, and return the status to exit with."""
    watch = Watch(link, vm.id, run_id, collect=form == "json")
    try:
        ended = watch.follow()
    except ConnectionFailedError:
        raise
    except OSError:
        # Nobody reads on, or the disk is full: the command ends, as it would in a pipe of the shell's.
        if remove:
            vm.delete()
        else:
            vm.cancel_run(run_id)
        raise
    if ended is None:
        return exits.INTERRUPTED
    if remove:
        vm.delete()
    if form == "json":
        output.print_json("run", {**run_json(ended, watch), "sandbox_kept": not remove})
    elif output.drawable(sys.stderr):
        output.note(f"skerry: {summary(ended)}" + ("" if remove else f"; {vm.id} stays"))
    elif ended.dropped_bytes:
        output.note(f"skerry: {dropped(ended)}")
    return status_of(ended)


def announce(sandbox_id: str, run_id: str, form: str) -> int:
    """Say which run was left alone."""
    if form == "json":
        output.print_json("run", {"id": run_id, "sandbox_id": sandbox_id, "state": "running"})
    else:
        click.echo(run_id)
        output.note(f"skerry: running in {sandbox_id}; see it with: skerry logs --follow {run_id}")
    return exits.OK


def read_stdin(wanted: bool) -> bytes | None:
    """All of our standard input, when asked for."""
    return sys.stdin.buffer.read() if wanted else None
