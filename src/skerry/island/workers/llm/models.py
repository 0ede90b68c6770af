"""The models on this machine's disks, by name.

A directory of models holds `<name>.gguf`, or a folder `<name>` with one or more GGUF files in it; a name is one word,
or two with a slash between them. The cache of the Hugging Face hub is read too. Nothing is remembered: what was put
there is there for the next job.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skerry.island.engine.errors import Conflict, Invalid, NotFound
from skerry.island.workers.llm import demo, gguf, names

STATE = "models"
"""Name of the directory of models in an island's data directory."""

VARIABLE = "SKERRY_MODELS"
_MOST_FOLDERS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that is there.

    Args:
        name: without a quantisation.
        quantisation: such as `Q4_K_M`; empty when its file's name does not say.
        files: the parts of a GGUF in order, or the one folder of a `weights` model.
        size_bytes: of all files.
        place: the directory of models that it lies in.
        format: `gguf`, or `weights` for a folder with `config.json` and safetensors, which vLLM loads.
    """

    name: str
    quantisation: str
    files: tuple[Path, ...]
    size_bytes: int
    place: Path
    format: Literal["gguf", "weights"] = "gguf"

    @property
    def path(self) -> Path:
        """What an engine is given."""
        return self.files[0]

    @property
    def full_name(self) -> str:
        """The name with its quantisation, which asks for just this one."""
        return f"{self.name}:{self.quantisation}" if self.quantisation else self.name


class ModelStore:
    """Models in some directories; reading them needs no server, and changes nothing.

    Args:
        home: where models are added; made when the first one is.
        extra: further directories, looked at in this order.
        hub_cache: a cache of the Hugging Face hub, looked at last.
    """

    def __init__(self, home: Path, *, extra: Sequence[Path] = (), hub_cache: Path | None = None) -> None:
        self.home = home
        self.extra = tuple(extra)
        self.hub_cache = hub_cache

    @classmethod
    def of(cls, data_dir: Path, environ: Mapping[str, str] = os.environ) -> ModelStore:
        """The store of an island: its own directory, those of `SKERRY_MODELS`, and the hub's cache.

        Args:
            data_dir: the island's.
            environ: read for `SKERRY_MODELS`, `HF_HUB_CACHE`, `HF_HOME` and `XDG_CACHE_HOME`.
        """
        extra = [Path(text).expanduser() for text in environ.get(VARIABLE, "").split(":") if text]
        return cls(data_dir / STATE, extra=extra, hub_cache=hub_cache(environ))

    def ls(self, format: Literal["gguf", "weights"] | None = "gguf") -> list[Model]:
        """Every model in every quantisation, by name; where two would answer to the same name, the one that does.

        Args:
            format: only these; None for all.
        """
        found: dict[tuple[str, str, str], Model] = {}
        listed: set[Path] = set()
        for model in self._all():
            if model.path not in listed:
                listed.add(model.path)
                found.setdefault((model.name, model.quantisation, model.format), model)
        chosen = [model for model in found.values() if format is None or model.format == format]
        return sorted(chosen, key=lambda model: (model.name.casefold(), model.name, names.rank(model.quantisation)))

    def find(self, name: str, *, formats: Sequence[str] = ("gguf",)) -> Model | None:
        """The model of this name; None when it is not there.

        Args:
            name: with a quantisation, or without, when the best compromise is taken. Letters count as they are first,
                and then without regard to case.
            formats: what engines there are for, the preferred one first.

        Raises:
            Invalid: no model can have this name.
        """
        base, form = names.split(names.check(name))
        found = self._choose(base, form, formats)
        if found is None and not form:
            # `phi-2.Q4_K_M` is the name of a file, which says a model and a quantisation.
            base, form, _, _ = names.stem(base)
            found = self._choose(base, form, formats)
        return found

    def _choose(self, base: str, form: str, formats: Sequence[str]) -> Model | None:
        known = [model for model in self._all() if not form or model.quantisation == form.upper()]
        folded = base.casefold()
        for those in (
            [model for model in known if model.name == base],
            [model for model in known if model.name.casefold() == folded],
        ):
            for format in formats:
                fitting = [model for model in those if model.format == format]
                if fitting:
                    # `min` keeps to the order of the directories among equals.
                    return min(fitting, key=lambda model: names.rank(model.quantisation)[0])
        return None

    def add(
        self, name: str, file: Path, *, how: Literal["link", "copy", "move"] = "link", replace: bool = False
    ) -> Model:
        """Put a GGUF file under a name.

        Args:
            name: may say a quantisation; otherwise the file's name may.
            file: the file, or the first part of a split one.
            how: link to where it lies, copy it, or move it, which needs the same file system.
            replace: in place of a model of this name.

        Raises:
            Invalid: the name or the file is none. Conflict: the name is taken.
        """
        base, form = names.split(names.check(name))
        gguf.read(file)
        parts = _parts_of(file)
        target = self._free(base, form.upper() or names.stem(file.name)[1], replace)
        self.make()
        target.parent.mkdir(parents=True, exist_ok=True)
        for number, part in enumerate(parts, 1):
            ending = f"-{number:05}-of-{len(parts):05}.gguf" if len(parts) > 1 else ".gguf"
            fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
            fresh.unlink(missing_ok=True)
            try:
                if how == "copy":
                    shutil.copyfile(part, fresh)
                elif how == "move":
                    part.replace(fresh)
                else:
                    fresh.symlink_to(part.resolve())
                fresh.replace(target.with_name(target.name + ending))
            finally:
                fresh.unlink(missing_ok=True)
        return self._added(name)

    def add_demo(self, name: str, *, replace: bool = False) -> Model:
        """Write a model with random weights under a name; what it says is gibberish.

        Raises:
            Invalid: it is no name. Conflict: the name is taken.
        """
        base, form = names.split(names.check(name))
        target = self._free(base, form.upper(), replace)
        self.make()
        target.parent.mkdir(parents=True, exist_ok=True)
        demo.write(target.with_name(f"{target.name}.gguf"))
        return self._added(name)

    def make(self) -> None:
        """Have the directory; a data directory that this makes first is its owner's alone, as the server makes it."""
        self.home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.home.mkdir(exist_ok=True)

    def remove(self, name: str) -> list[Model]:
        """Delete a model from the island's own directory, in every quantisation unless the name says one.

        Returns:
            What was deleted; of a link the link, and not what it leads to.

        Raises:
            Invalid: it is no name. NotFound: it is not there, or lies elsewhere.
        """
        base, form = names.split(names.check(name))
        mine = [model for model in self._own() if model.name == base and form.upper() in ("", model.quantisation)]
        if not mine:
            elsewhere = self.find(name, formats=("gguf", "weights"))
            if elsewhere is None:
                raise NotFound(f"there is no model {name}")
            raise NotFound(
                f"{elsewhere.full_name} lies in {elsewhere.place}, which is not the island's; delete it there"
            )
        for model in mine:
            for file in model.files:
                if file.is_dir() and not file.is_symlink():
                    shutil.rmtree(file)
                else:
                    file.unlink(missing_ok=True)
            _prune(model.path.parent, self.home)
        return mine

    def _free(self, base: str, form: str, replace: bool) -> Path:
        """Where a model of this name goes, without the ending."""
        for model in self._own():
            if model.name == base and model.quantisation == form:
                if not replace:
                    raise Conflict(f"there is a model {model.full_name} already; remove it, or ask for --replace")
                for file in model.files:
                    file.unlink(missing_ok=True)
        return self.home / (f"{base}.{form}" if form else base)

    def _added(self, name: str) -> Model:
        found = self.find(name)
        if found is None:
            raise Invalid(f"{name} was written to {self.home}, but cannot be read there")
        return found

    def _own(self) -> list[Model]:
        return list(_directory(self.home))

    def _all(self) -> Iterator[Model]:
        for place in (self.home, *self.extra):
            yield from _directory(place)
        if self.hub_cache is not None:
            yield from _cache(self.hub_cache)


def hub_cache(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the hub's own library keeps what it fetched."""
    if named := environ.get("HF_HUB_CACHE"):
        return Path(named).expanduser()
    base = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(environ.get("HF_HOME") or f"{base}/huggingface").expanduser() / "hub"


def _directory(place: Path) -> Iterator[Model]:
    """Models of one directory: files first, since they are named, then folders of files."""
    outer = _folders(place)
    yield from _files(place, place, "")
    for name, folder in outer:
        yield from _files(folder, place, f"{name}/")
    for name, folder in outer:
        for inner, path in _folders(folder):
            yield from _folder((path, *(below for _, below in _folders(path))), place, f"{name}/{inner}")
    for name, folder in outer:
        # A folder of several models is the folder of their makers, and no model.
        if len({base for base, _, _ in _sets(folder)}) <= 1:
            yield from _folder((folder,), place, name)


def _cache(place: Path) -> Iterator[Model]:
    """Models of a hub's cache, each as its newest snapshot has it."""
    for name, folder in _folders(place):
        kind, _, repository = name.partition("--")
        if kind != "models" or not repository:
            continue
        try:
            newest = (folder / "snapshots" / (folder / "refs" / "main").read_text().strip()).resolve()
        except OSError:
            newest = folder / "snapshots"
        if newest.name == "snapshots" or not newest.is_dir():
            snapshots = [path for _, path in _folders(folder / "snapshots")]
            if not snapshots:
                continue
            newest = max(snapshots, key=lambda path: path.stat().st_mtime)
        inside = (newest, *(below for _, below in _folders(newest)))
        yield from _folder(inside, place, repository.replace("--", "/", 1))


def _folders(folder: Path) -> list[tuple[str, Path]]:
    try:
        found = [(entry.name, Path(entry.path)) for entry in os.scandir(folder) if entry.is_dir()]
    except OSError:
        return []
    return sorted(one for one in found if not one[0].startswith("."))[:_MOST_FOLDERS]


def _files(folder: Path, place: Path, prefix: str) -> Iterator[Model]:
    """Models that are files of a folder."""
    for base, form, files in _sets(folder):
        yield _model(f"{prefix}{base}", form, files, place)


def _folder(inside: Sequence[Path], place: Path, name: str) -> Iterator[Model]:
    """The model that a folder, and what is in it, is, in every form that it has."""
    for folder in inside:
        for _, form, files in _sets(folder):
            yield _model(name, form, files, place)
    folder = inside[0]
    weights = sorted(folder.glob("*.safetensors"))
    if weights and (folder / "config.json").exists():
        size = sum(file.stat().st_size for file in weights if file.exists())
        yield Model(name=name, quantisation="", files=(folder,), size_bytes=size, place=place, format="weights")


def _model(name: str, form: str, files: tuple[Path, ...], place: Path) -> Model:
    return Model(
        name=name, quantisation=form, files=files, size_bytes=sum(file.stat().st_size for file in files), place=place
    )


def _sets(folder: Path) -> Iterator[tuple[str, str, tuple[Path, ...]]]:
    """Whole GGUFs of a folder: model, quantisation, files in order. One that lacks a part is none."""
    found: dict[tuple[str, str, int], dict[int, Path]] = {}
    try:
        listed = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    except OSError:
        return
    for name in listed:
        if name.endswith(".gguf") and not name.startswith((".", *names.NOT_MODELS)):
            base, form, part, parts = names.stem(name)
            found.setdefault((base, form, parts), {})[part] = folder / name
    for (base, form, parts), files in found.items():
        if sorted(files) == list(range(1, parts + 1)):
            yield base, form, tuple(files[part] for part in range(1, parts + 1))


def _parts_of(file: Path) -> list[Path]:
    base, form, _, parts = names.stem(file.name)
    if parts == 1:
        return [file]
    for model, quantisation, files in _sets(file.parent):
        if (model, quantisation, len(files)) == (base, form, parts):
            return list(files)
    raise Invalid(f"{file.name} is one of {parts} parts, and not all of them are beside it")


def _prune(folder: Path, home: Path) -> None:
    """Remove folders that have become empty, up to the home directory."""
    while folder != home and home in folder.parents:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
