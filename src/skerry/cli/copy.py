"""`skerry sandbox cp`: files in and out."""

from __future__ import annotations

from pathlib import Path

import click

from skerry.cli import exits, files, island_link, output
from skerry.cli.options import data_dir_option


@click.command()
@click.argument("source")
@click.argument("target")
@data_dir_option
@output.output_option
def cp(source: str, target: str, *, directory: Path, form: str) -> int:
    """Copy a file or a directory; one side is SANDBOX:PATH, and relative paths there start at /home/user.

    \b
    skerry sandbox cp job.py vmh-01k...:job.py
    skerry sandbox cp vmh-01k...:results ./results
    skerry sandbox cp vmh-01k...:notes.txt -
    """
    inward, outward = _remote(target), _remote(source)
    if (inward is None) == (outward is None):
        raise click.UsageError("exactly one side is SANDBOX:PATH")
    with island_link.need(directory).arker() as arker:
        if inward is not None:
            sandbox_id, path = inward
            here = Path(source)
            if not path or path.endswith("/"):
                path += here.absolute().name
            files.put(arker.vm(sandbox_id), here, files.remote_path(path))
        elif outward is not None:
            sandbox_id, path = outward
            files.get(arker.vm(sandbox_id), files.remote_path(path), Path(target))
    if form == "json":
        output.print_json("copied", {"source": source, "target": target})
    return exits.OK


def _remote(text: str) -> tuple[str, str] | None:
    """Sandbox and path of `SANDBOX:PATH`; a word with a slash before the colon is a local path."""
    sandbox_id, colon, path = text.partition(":")
    return (sandbox_id, path) if colon and sandbox_id and "/" not in sandbox_id else None
