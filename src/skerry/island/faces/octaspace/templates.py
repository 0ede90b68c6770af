"""Templates that the island ships. Each runs a program of this machine in the `host` image; where that program is
missing the template is not offered, and `skerry doctor` says what to install."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from skerry.island.images.host_image import HOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template.

    Args:
        uuid: the same on every island.
        name, category, description: for people.
        programs: any one of these makes it work; the first that is here is put in the place of `{program}`.
        install: what to do when there is none.
        start_command: what it runs, for each of the programs.
        http_ports: with public URLs.
        envs: its environment.
        min_disk_gb: GB of disk that it needs.
        guide: where to read more.
    """

    uuid: str
    name: str
    category: str
    description: str
    programs: tuple[str, ...]
    install: str
    start_command: dict[str, str]
    http_ports: tuple[int, ...] = ()
    envs: dict[str, str] = field(default_factory=dict)
    min_disk_gb: int = 5
    guide: str = ""

    def program(self) -> str | None:
        """The program that it would run here; None where there is none."""
        return next((name for name in self.programs if shutil.which(name)), None)


_JUPYTER = (
    "--ip=127.0.0.1 --port=8888 --no-browser --allow-root --ServerApp.token='' --ServerApp.password=''"
    " --ServerApp.allow_remote_access=True --ServerApp.root_dir=/home/user"
)

TEMPLATES = (
    Template(
        uuid="5ca1ab1e-0001-4000-8000-000000000001",
        name="Web server",
        category="Web",
        description="Shows the files of /home/user, which SSH or the terminal fill, to anybody.",
        programs=("python3",),
        install="install Debian's python3",
        start_command={"python3": "python3 -m http.server 8080 --bind 127.0.0.1 --directory /home/user"},
        http_ports=(8080,),
        guide="https://docs.python.org/3/library/http.server.html",
    ),
    Template(
        uuid="5ca1ab1e-0002-4000-8000-000000000002",
        name="Jupyter",
        category="Notebooks",
        description="Notebooks in the browser; whoever has the address may use them.",
        programs=("jupyter-lab", "jupyter-notebook"),
        install="install Debian's jupyter-notebook, or `pip install jupyterlab` for the whole machine",
        start_command={
            "jupyter-lab": f"jupyter-lab {_JUPYTER}",
            "jupyter-notebook": f"jupyter-notebook {_JUPYTER}",
        },
        http_ports=(8888,),
        min_disk_gb=10,
        guide="https://docs.jupyter.org/",
    ),
    Template(
        uuid="5ca1ab1e-0003-4000-8000-000000000003",
        name="Code server",
        category="Editors",
        description="An editor with a terminal in the browser; whoever has the address may use it.",
        programs=("code-server", "openvscode-server"),
        install="install code-server from its project's Debian package",
        start_command={
            "code-server": "code-server --auth none --bind-addr 127.0.0.1:8443 /home/user",
            "openvscode-server": "openvscode-server --without-connection-token --host 127.0.0.1 --port 8443",
        },
        http_ports=(8443,),
        min_disk_gb=10,
        guide="https://coder.com/docs/code-server",
    ),
)


def offered() -> list[dict[str, Any]]:
    """The templates that work on this machine, in the network's words."""
    found = []
    for template in TEMPLATES:
        program = template.program()
        if program is None:
            continue
        found.append(
            {
                "uuid": template.uuid,
                "name": template.name,
                "category": template.category,
                "description": template.description,
                "image": HOST,
                "envs": dict(template.envs),
                "extra": {"min_disk_size": template.min_disk_gb, "guide": template.guide},
                "ports": [],
                "http_ports": list(template.http_ports),
                "personal": False,
                "start_command": template.start_command[program],
            }
        )
    return found


def missing() -> Iterator[tuple[str, str]]:
    """Templates that are not offered here: their names, and what to do about it."""
    for template in TEMPLATES:
        if template.program() is None:
            yield template.name, template.install
