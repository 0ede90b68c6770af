"""`skerry machine app`: the programs behind the templates of an island, installed on its machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from skerry.cli import exits, output
from skerry.cli.main import LazyGroup
from skerry.cli.making import making
from skerry.cli.options import data_dir_option
from skerry.errors import NotFoundError

if TYPE_CHECKING:
    from skerry.island.workers.apps.recipe import Recipe

_into = click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    help="The directory for apps; name it in SKERRY_APPS then.",
)


@click.group(cls=LazyGroup)
def app() -> None:
    """Install the programs behind templates, which this machine's island offers then.

    \b
    skerry machine app install jupyterlab
    skerry machine start --app Jupyter --wait
    """


@app.command("ls")
@data_dir_option
@output.output_option
def list_apps(*, directory: Path, form: str) -> int:
    """List what can be installed, and what is."""
    from skerry.island.workers.apps import installed
    from skerry.island.workers.apps.recipes import RECIPES

    place = installed.place(directory)
    found = [(recipe, installed.find(place, recipe)) for recipe in RECIPES]
    if form == "json":
        rows = [
            {"name": recipe.name, "version": one and one.version, "directory": str(one.directory) if one else None}
            for recipe, one in found
        ]
        output.print_json("apps", {"apps": rows})
        return exits.OK
    output.print_table(
        ["name", "version", "directory"],
        [
            (recipe.name, one.version if one else "", str(one.directory) if one else f"not installed; {recipe.size}")
            for recipe, one in found
        ],
        empty="",
    )
    return exits.OK


@app.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--python", metavar="PATH", help="The Python to install with.")
@_into
@data_dir_option
def install(*, names: tuple[str, ...], python: str | None, into: Path | None, directory: Path) -> int:
    """Install apps from the package indexes, or again in place of what is there; stop their machines before that."""
    from skerry.island.workers.apps import installed

    place = into if into is not None else installed.place(directory)
    for recipe in [_recipe(name) for name in names]:
        with making():
            made = installed.install(place, recipe, python=python, say=output.note)
        output.note(f"{recipe.title} {made.version} is in {made.directory}.")
    return exits.OK


@app.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_into
@data_dir_option
def rm(*, names: tuple[str, ...], into: Path | None, directory: Path) -> int:
    """Remove installed apps; machines that run one lose it."""
    from skerry.island.workers.apps import installed

    place = into if into is not None else installed.place(directory)
    for recipe in [_recipe(name) for name in names]:
        with making():
            removed = installed.remove(place, recipe)
        if not removed:
            raise NotFoundError(f"{recipe.name} is not installed in {place}")
        click.echo(recipe.name)
    return exits.OK


def _recipe(name: str) -> Recipe:
    from skerry.island.engine.errors import EngineError
    from skerry.island.workers.apps.recipes import named

    try:
        return named(name)
    except EngineError as error:
        raise NotFoundError(error.message) from None
