"""Which apps are here: each in a directory that appeared when it was whole, with a marker that says what it is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from skerry.island.images.define import Overrides
from skerry.island.images.rootfs import DEFAULT_PATH
from skerry.island.images.store import ImageStore
from skerry.island.workers.apps.recipe import Recipe, Say
from skerry.island.workers.making import unmake, whole

if TYPE_CHECKING:
    from skerry.island.engine.records import Image

VARIABLE = "SKERRY_APPS"
"""Names the directory that holds them, in place of `apps` in the data directory."""

MARKER = "skerry-app.json"
_USUAL = "apps"


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A program that is here.

    Args:
        recipe: what it was made by.
        version: of the program.
        directory: where it is.
        needs: directories that it needs besides, at their own paths.
    """

    recipe: Recipe
    version: str
    directory: Path
    needs: tuple[Path, ...] = ()

    @property
    def trees(self) -> list[tuple[Path, str]]:
        """What a sandbox must see that the machine's own `/usr` does not have."""
        besides = [(it, str(it)) for it in self.needs if not it.is_relative_to("/usr")]
        return [(self.directory, self.recipe.inside), *besides]

    async def image(self, images: ImageStore) -> Image:
        """The image in which it runs: the machine's own, with this beside it; the same one each time."""
        overrides = Overrides(
            entrypoint=(),
            command=(self.recipe.start,),
            env={"PATH": f"{self.recipe.inside}/bin:{DEFAULT_PATH}"},
            working_dir="/home/user",
        )
        return await images.define(self.recipe.image, "host", overrides=overrides, trees=self.trees)


def place(data_dir: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """The directory that holds an island's apps."""
    return Path(environ.get(VARIABLE) or data_dir / _USUAL).absolute()


def find(directory: Path, recipe: Recipe) -> App | None:
    """An app that is whole.

    Args:
        directory: holds the apps.
    """
    home = directory / recipe.name
    try:
        marker = json.loads((home / MARKER).read_bytes())
        version, needs = str(marker["version"]), tuple(Path(it) for it in marker["needs"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not all(it.is_dir() for it in needs):
        return None
    return App(recipe=recipe, version=version, directory=home.resolve(), needs=needs)


def install(directory: Path, recipe: Recipe, *, python: str | None = None, say: Say = lambda text: None) -> App:
    """Make an app, in place of one that is there; it appears when it is whole and has been tried.

    Args:
        directory: holds the apps.
        recipe: which.
        python: the interpreter to use; one that fits otherwise.
        say: told what goes on.

    Raises:
        Unsupported: something is missing or out of reach; the message says what. Conflict: another makes it now.
    """
    # Programs that are installed write their paths down in this form, and are told another afterwards.
    directory = Path(os.path.abspath(directory))
    with whole(directory / recipe.name) as fresh:
        version, needs = recipe.make(fresh, python, say)
        marker = {"version": version, "needs": [str(it) for it in needs]}
        (fresh / MARKER).write_text(json.dumps(marker) + "\n")
    found = find(directory, recipe)
    assert found is not None
    return found


def remove(directory: Path, recipe: Recipe) -> bool:
    """Remove an app, broken and half made ones too; whether there was one.

    Args:
        directory: holds the apps.
        recipe: which.

    Raises:
        Conflict: it is being installed now.
    """
    return unmake(directory / recipe.name)
