"""Templates that the island ships. Each runs a program of this machine, or an app that was installed beside it; where
that is missing the template is not offered, and `skerry doctor` says what to do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skerry.island.images.host_image import HOST
from skerry.island.images.rootfs import DEFAULT_PATH
from skerry.island.workers.apps import installed
from skerry.island.workers.apps.code_server import CODE_SERVER
from skerry.island.workers.apps.jupyterlab import JUPYTERLAB
from skerry.island.workers.apps.recipe import Recipe

_WEB_PORT = 8080


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template.

    Args:
        uuid: the same on every island.
        name, category, description: for people.
        runs: an app, or the name of one of the machine's programs.
        install: what to do where that is missing.
        start_command: what it runs.
        http_port: with a public URL.
        min_disk_gb: GB of disk that it needs.
        guide: where to read more.
    """

    uuid: str
    name: str
    category: str
    description: str
    runs: Recipe | str
    install: str
    start_command: str
    http_port: int
    min_disk_gb: int
    guide: str

    @property
    def image(self) -> str:
        """Name of the image in which it runs."""
        return HOST if isinstance(self.runs, str) else self.runs.image

    def program(self, place: Path) -> str | None:
        """The program that it would run here, with its version where that is known; None where there is none.

        Args:
            place: holds the apps.
        """
        if isinstance(self.runs, str):
            return self.runs if shutil.which(self.runs, path=DEFAULT_PATH) else None
        app = installed.find(place, self.runs)
        return None if app is None else f"{self.runs.title} {app.version}"


def _of_app(recipe: Recipe, **told: Any) -> Template:
    return Template(
        runs=recipe,
        install=recipe.how,
        start_command=recipe.start,
        http_port=recipe.port,
        min_disk_gb=10,
        **told,
    )


TEMPLATES = (
    Template(
        uuid="5ca1ab1e-0001-4000-8000-000000000001",
        name="Web server",
        category="Web",
        description="Shows the files of /home/user, which SSH or the terminal fill, to anybody.",
        runs="python3",
        install="install Debian's python3",
        start_command=f"python3 -m http.server {_WEB_PORT} --bind 127.0.0.1 --directory /home/user",
        http_port=_WEB_PORT,
        min_disk_gb=5,
        guide="https://docs.python.org/3/library/http.server.html",
    ),
    _of_app(
        JUPYTERLAB,
        uuid="5ca1ab1e-0002-4000-8000-000000000002",
        name="Jupyter",
        category="Notebooks",
        description="JupyterLab: notebooks in the browser. The token is in the container's log, or in JUPYTER_TOKEN.",
        guide="https://jupyterlab.readthedocs.io/",
    ),
    _of_app(
        CODE_SERVER,
        uuid="5ca1ab1e-0003-4000-8000-000000000003",
        name="Code server",
        category="Editors",
        description="VS Code in the browser. The password is in the container's log, or in PASSWORD.",
        guide="https://coder.com/docs/code-server",
    ),
)


def offered(place: Path) -> list[dict[str, Any]]:
    """The templates that work on this machine, in the network's words.

    Args:
        place: holds the apps.
    """
    return [
        {
            "uuid": template.uuid,
            "name": template.name,
            "category": template.category,
            "description": template.description,
            "image": template.image,
            "envs": {},
            "extra": {"min_disk_size": template.min_disk_gb, "guide": template.guide},
            "ports": [],
            "http_ports": [template.http_port],
            "personal": False,
            "start_command": template.start_command,
        }
        for template in TEMPLATES
        if template.program(place) is not None
    ]


def missing(place: Path) -> Iterator[tuple[str, str]]:
    """Templates that are not offered here: their names, and what to do about it."""
    for template in TEMPLATES:
        if template.program(place) is None:
            yield template.name, template.install
