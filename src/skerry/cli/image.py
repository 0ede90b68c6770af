"""`skerry image`: the root file systems that sandboxes start from."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skerry.cli import exits, island_link, output
from skerry.cli.image_program import program_options
from skerry.cli.main import LazyGroup
from skerry.cli.options import data_dir_option
from skerry.errors import NotFoundError, ProtocolError
from skerry.units import format_size

if TYPE_CHECKING:
    from skerry.island.admin.models import ImageEvent, ImageProgress, ImageView, ProgramChoice


_LONGEST_PROGRAM = 40


@click.group(cls=LazyGroup)
def image() -> None:
    """List, pull, build, import, define and remove images.

    `host` is always there: this machine's own tools, read-only.
    """


@image.command("ls")
@data_dir_option
@output.output_option
def list_images(*, directory: Path, form: str) -> int:
    """List local images."""
    with island_link.ensure(directory, output.note).admin() as admin:
        images = admin.images()
    if form == "json":
        output.print_json("images", {"images": [_plain(found) for found in images]})
        return exits.OK
    output.print_table(
        ["name", "id", "size", "source", "created", "program"],
        [
            (i.name, i.id, format_size(i.size_bytes), i.source, f"{i.created_at:%Y-%m-%d %H:%M}", _program(i))
            for i in images
        ],
        empty="no images",
    )
    return exits.OK


@image.command()
@click.argument("name")
@data_dir_option
@output.output_option
def show(name: str, *, directory: Path, form: str) -> int:
    """Tell what an image is and what it runs."""
    with island_link.ensure(directory, output.note).admin() as admin:
        found = admin.image(name)
    if form == "json":
        output.print_json("image", {"image": _plain(found)})
        return exits.OK
    program = found.program
    rows = [
        ("name", found.name),
        ("id", found.id),
        ("source", found.source),
        ("size", format_size(found.size_bytes)),
        ("created", f"{found.created_at:%Y-%m-%d %H:%M}"),
        ("entrypoint", shlex.join(program.entrypoint)),
        ("command", shlex.join(program.command)),
        ("directory", program.working_dir or "/"),
        ("user", program.user or "root"),
        *(("variable", f"{key}={value}") for key, value in sorted(program.env.items())),
    ]
    output.print_table(["what", "value"], rows, empty="")
    return exits.OK


@image.command()
@click.argument("reference")
@data_dir_option
@output.output_option
def pull(reference: str, *, directory: Path, form: str) -> int:
    """Fetch an image from a registry, such as ubuntu:24.04."""
    with island_link.ensure(directory, output.note).admin() as admin:
        return _finish(admin.pull(reference), form)


@image.command()
@click.option("--suite", default="bookworm", show_default=True, help="Debian suite.")
@click.option("--name", help="Name of the image; skerry/SUITE by default.")
@click.argument("packages", nargs=-1)
@program_options
@data_dir_option
@output.output_option
def build(
    packages: tuple[str, ...], *, suite: str, name: str | None, program: ProgramChoice, directory: Path, form: str
) -> int:
    """Build an image from Debian packages, by mmdebstrap.

    \b
    skerry image build --suite bookworm python3 git
    """
    with island_link.ensure(directory, output.note).admin() as admin:
        return _finish(admin.build(suite, list(packages), name, program), form)


@image.command("import")
@click.argument("tar", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="Name of the image.")
@program_options
@data_dir_option
@output.output_option
def import_tar(tar: Path, *, name: str, program: ProgramChoice, directory: Path, form: str) -> int:
    """Make an image of a tar: a root file system, an OCI layout, or what `docker save` wrote."""
    with island_link.ensure(directory, output.note).admin() as admin:
        return _finish(admin.import_tar(tar, name, program), form)


@image.command()
@click.argument("name")
@click.option("--from", "source", default="host", show_default=True, metavar="IMAGE", help="What it stands on.")
@click.option("--file", "files", multiple=True, metavar="LOCAL:PATH", help="Put a file of this machine into it.")
@program_options
@data_dir_option
@output.output_option
def define(
    name: str, *, source: str, files: tuple[str, ...], program: ProgramChoice, directory: Path, form: str
) -> int:
    """Give another image's files another program; what it stands on is not copied.

    \b
    skerry image define web --entrypoint "python3 -m http.server" --cmd 8000
    skerry image define job --from debian:12 --file job.sh:/opt/job.sh --entrypoint /opt/job.sh
    """
    placed = [_pair(text) for text in files]
    with island_link.ensure(directory, output.note).admin() as admin:
        return _finish(admin.define(name, source, program, placed), form)


@image.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@data_dir_option
@output.output_option
def rm(names: tuple[str, ...], *, directory: Path, form: str) -> int:
    """Delete local images."""
    with island_link.ensure(directory, output.note).admin() as admin:
        for name in names:
            admin.remove_image(name)
    if form == "json":
        output.print_json("images_removed", {"removed": list(names)})
    return exits.OK


def _pair(text: str) -> tuple[Path, str]:
    local, colon, inside = text.rpartition(":")
    if not colon or not local or not inside:
        raise click.UsageError(f"{text!r} is not LOCAL:PATH, such as job.sh:/opt/job.sh")
    if not Path(local).exists():
        raise NotFoundError(f"no such file here: {local}")
    return Path(local), inside


def _program(view: ImageView) -> str:
    text = shlex.join([*view.program.entrypoint, *view.program.command])
    return text if len(text) <= _LONGEST_PROGRAM else f"{text[: _LONGEST_PROGRAM - 3]}..."


def _finish(events: Iterator[ImageEvent], form: str) -> int:
    made, stage = None, ""
    for event in events:
        # Every step on a terminal, every stage elsewhere.
        if event.progress and (output.drawable(sys.stderr) or event.progress.stage != stage):
            stage = event.progress.stage
            _tell(event.progress)
        made = event.image or made
    if made is None:
        raise ProtocolError("the island ended its answer before the image was made")
    if form == "json":
        output.print_json("image", {"image": _plain(made)})
    else:
        click.echo(made.name)
    return exits.OK


def _tell(now: ImageProgress) -> None:
    total = f" of {format_size(now.total_bytes)}" if now.total_bytes else ""
    text = f"{now.stage}: {format_size(now.done_bytes)}{total}" if now.done_bytes else now.stage
    if output.drawable(sys.stderr):
        click.echo(f"\r\033[K{text}", err=True, nl=now.stage == "done")
    else:
        output.note(text)


def _plain(view: ImageView) -> dict[str, Any]:
    import msgspec

    data: dict[str, Any] = msgspec.to_builtins(view)
    return data
