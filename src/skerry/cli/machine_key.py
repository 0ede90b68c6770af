"""`skerry machine key`: whose SSH keys are let into the machines of the island's account."""

from __future__ import annotations

from pathlib import Path

import click

from skerry.cli import exits, island_link, octaspace_owner, output
from skerry.cli.options import data_dir_option
from skerry.errors import InvalidRequestError

USUAL = ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub")
_MOST_BYTES = 64 * 1024


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option("--only", is_flag=True, help="Let no other keys in any more.")
@click.option("--list", "listing", is_flag=True, help="Print the keys that are let in.")
@data_dir_option
@output.output_option
def key(file: Path | None, *, only: bool, listing: bool, directory: Path, form: str) -> int:
    """Let the SSH public key of FILE in, by default ~/.ssh/id_ed25519.pub and the like; running machines follow.

    Only the island's owner can, since the network has no call for it.
    """
    if listing and (file or only):
        raise click.UsageError("--list goes with nothing else")
    given = [] if listing else read(file or usual())
    link = island_link.ensure(directory, output.note)
    known = octaspace_owner.ssh_keys(link)
    if not listing:
        kept = [] if only else [line for line in known if _same(line) not in {_same(one) for one in given}]
        known = octaspace_owner.set_ssh_keys(link, [*kept, *given])
    if form == "json":
        output.print_json("machine_keys", {"ssh_public_keys": known})
    elif listing:
        for line in known:
            click.echo(line)
    else:
        for line in given:
            click.echo(line)
    return exits.OK


def usual() -> Path:
    """The user's own public key.

    Raises:
        InvalidRequestError: there is none.
    """
    for name in USUAL:
        path = Path.home() / ".ssh" / name
        if path.is_file():
            return path
    raise InvalidRequestError("there is no SSH key in ~/.ssh; make one (ssh-keygen -t ed25519), or name a FILE")


def read(path: Path) -> list[str]:
    """The public keys of a file.

    Raises:
        InvalidRequestError: it has none, or private ones.
    """
    with path.open("rb") as file:
        text = file.read(_MOST_BYTES).decode("utf-8", "replace")
    if "PRIVATE KEY" in text:
        raise InvalidRequestError(f"{path} is a private key and stays here; name the file that ends in .pub")
    found = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not found:
        raise InvalidRequestError(f"{path} has no SSH public key")
    return found


def _same(line: str) -> tuple[str, ...]:
    """A key without its comment."""
    return tuple(line.split()[:2])
