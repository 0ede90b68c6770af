"""Which models are here: folders as diffusers writes them, in the models directories and in the hub's cache."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from skerry.island.engine.errors import Invalid
from skerry.island.workers.image.values import Model

INDEX = "model_index.json"
"""Names the parts of a model; where it is, there is a model."""

DEMO = "skerry-demo.json"
"""Marks a model that was made by `skerry diffusion demo`."""

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_NAME = re.compile(rf"{_PART}(?:/{_PART})?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)


def is_name(text: str) -> bool:
    """Whether it can name a model: it comes from strangers, and becomes a path."""
    # The hub forbids these two, and its cache writes `/` as `--`.
    return _NAME.fullmatch(text) is not None and ".." not in text and "--" not in text


def check_name(text: str) -> str:
    """The name, if it can be one. Raises `Invalid`."""
    if not is_name(text):
        raise Invalid(f"{text[:100]!r} is no name of a model; use ORG/NAME of letters, digits, '.', '_' and '-'")
    return text


def find(name: str, directories: Sequence[Path], cache: Path) -> Model | None:
    """The model of that name on this machine, the directories first.

    Args:
        name: checked before.
        directories: hold `<org>/<name>` folders.
        cache: the hub's, see `hub_cache`.
    """
    for directory in directories:
        folder = directory / name
        if (folder / INDEX).is_file():
            return Model(name=name, folder=folder, source="folder", demo=(folder / DEMO).is_file())
    snapshot = _snapshot(cache / f"models--{name.replace('/', '--')}")
    return None if snapshot is None else Model(name=name, folder=snapshot, source="cache")


def every(directories: Sequence[Path], cache: Path) -> list[Model]:
    """Every model on this machine, sorted by name; of two with one name, the one that `find` takes."""
    names = {*_in_directories(directories), *_in_cache(cache)}
    found = [find(name, directories, cache) for name in sorted(names) if is_name(name)]
    return [model for model in found if model is not None]


def hub_cache(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the hub's library keeps what it fetched, as its own variables say."""
    if named := environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(named).expanduser()
    if home := environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    general = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(general).expanduser() / "huggingface" / "hub"


def _in_directories(directories: Sequence[Path]) -> Iterator[str]:
    for directory in directories:
        for pattern in (f"*/{INDEX}", f"*/*/{INDEX}"):
            for index in directory.glob(pattern):
                yield index.parent.relative_to(directory).as_posix()


def _in_cache(cache: Path) -> Iterator[str]:
    for place in cache.glob("models--*"):
        yield place.name.removeprefix("models--").replace("--", "/")


def _snapshot(place: Path) -> Path | None:
    """The newest state of a model in the cache, if it is one of diffusers' and was fetched."""
    try:
        commit = (place / "refs" / "main").read_text().strip()
    except (OSError, ValueError):
        return None
    if not _COMMIT.fullmatch(commit):
        return None
    folder = place / "snapshots" / commit
    return folder if (folder / INDEX).is_file() else None
