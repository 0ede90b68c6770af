"""Every program that can be installed."""

from __future__ import annotations

from skerry.island.engine.errors import Invalid, NotFound
from skerry.island.images.reference import parse_reference
from skerry.island.workers.apps.code_server import CODE_SERVER
from skerry.island.workers.apps.jupyterlab import JUPYTERLAB
from skerry.island.workers.apps.recipe import Recipe

RECIPES = (JUPYTERLAB, CODE_SERVER)


def named(name: str) -> Recipe:
    """A recipe by its name.

    Raises:
        NotFound: there is none.
    """
    for recipe in RECIPES:
        if recipe.name == name:
            return recipe
    raise NotFound(f"there is no app {name!r}; there are {' and '.join(recipe.name for recipe in RECIPES)}")


def of_image(reference: str) -> Recipe | None:
    """The recipe whose image is called so, if there is one."""
    try:
        canonical = parse_reference(reference).canonical
    except Invalid:
        # An alias may be called anything.
        return None
    return next((it for it in RECIPES if parse_reference(it.image).canonical == canonical), None)
