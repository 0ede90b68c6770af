"""`skerry machine ssh`: OpenSSH's own client, with the machine's address and the island's host key."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skerry.cli import exits, island_link, machine, octaspace, octaspace_owner, output
from skerry.cli.places import Place, place_options
from skerry.errors import ConfigurationError, ConflictError, UnsupportedError

if TYPE_CHECKING:
    from skerry.cli.island_link import Link
    from skerry.networks.octaspace import ServiceInfo

USER = "root"
ALIAS = "skerry"
"""The name under which the island's host key is known, since its address and ports change."""


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("-i", "--identity", type=click.Path(dir_okay=False, path_type=Path), help="Private key to log in with.")
@place_options
@output.output_option
@click.argument("machine_id", metavar="MACHINE", shell_complete=machine.complete_machine)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def ssh(
    machine_id: str,
    command: tuple[str, ...],
    *,
    identity: Path | None,
    place: Place | None,
    directory: Path,
    form: str,
) -> int:
    """Log in to MACHINE, or run a command there; its exit status is ours.

    The words after `--` are the program and its arguments, exactly. With `-o json` nothing is run: it prints what
    would be.

    \b
    skerry machine ssh 3f2a
    skerry machine ssh 3f2a -- nvidia-smi
    """
    words = command[1:] if command[:1] == ("--",) else command
    with octaspace.asking(place, directory) as asked:
        found = octaspace.session(asked.client, machine_id, machine.SERVICE)
        line = _line(found, asked.target.link, identity, words)
    if form == "json":
        access = found.ssh_direct or found.ssh_proxy
        assert access is not None
        facts = {"id": found.uuid, "host": access.host, "port": access.port, "user": USER, "command": line}
        output.print_json("machine_ssh", facts)
        return exits.OK
    if shutil.which(line[0]) is None:
        raise ConfigurationError("there is no ssh here; install OpenSSH's client (Debian: openssh-client)")
    return os.execvp(line[0], line)  # noqa: S606 - OpenSSH takes our place, with the terminal and the exit status


def _line(found: ServiceInfo, link: Link | None, identity: Path | None, words: tuple[str, ...]) -> list[str]:
    if not found.ready:
        raise ConflictError(f"machine {found.uuid} is not ready: {octaspace.state(found)}", network=octaspace.NAME)
    access = found.ssh_direct or found.ssh_proxy
    if access is None or access.host is None or access.port is None:
        raise UnsupportedError(f"machine {found.uuid} has no SSH; is the island's SSH server off?")
    line = ["ssh", "-p", str(access.port), *_trust(link, found)]
    if identity is not None:
        line += ["-i", str(identity), "-o", "IdentitiesOnly=yes"]
    # One word for the remote shell, which takes it apart into ours again.
    return [*line, "--", f"{USER}@{access.host}", *([shlex.join(words)] if words else [])]


def _trust(link: Link | None, found: ServiceInfo) -> list[str]:
    """Whom to take for the machine: on an island, whoever has the host key that its owner's API tells."""
    if link is None:
        return ["-o", f"HostKeyAlias=octaspace-{found.uuid}", "-o", "StrictHostKeyChecking=accept-new"]
    known = _known_hosts(link)
    options = {
        "HostKeyAlias": ALIAS,
        "UserKnownHostsFile": f'"{known}"',
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
    }
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


def _known_hosts(link: Link) -> Path:
    key = str(octaspace_owner.ask(link, "GET", "/ssh")["host_key"])
    path = link.data_dir / "ssh" / "known_hosts"
    line = f"{ALIAS} {key}\n"
    try:
        if not path.exists() or path.read_text() != line:
            fresh = path.with_name(f".known_hosts.{os.getpid()}")
            fresh.write_text(line)
            fresh.replace(path)
    except PermissionError as error:
        raise island_link.foreign(error) from None
    return path
