"""Ids of sandboxes, for the shell to complete."""

from __future__ import annotations

import click

from skerry.cli import island_link
from skerry.errors import SkerryError

_SECONDS = 30.0


def complete_sandbox(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Ids that begin like this; none when no island runs."""
    try:
        link = island_link.need(context.params.get("directory") or island_link.data_dir())
        with link.arker() as arker:
            found = list(arker.with_options(timeout=_SECONDS).list())
    except (SkerryError, OSError):
        return []
    return [vm.vm_id for vm in found if vm.vm_id.startswith(incomplete)]
