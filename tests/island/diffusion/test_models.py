"""Which models are found, under which names, and which names are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.errors import ConfigurationError
from skerry.island.engine.errors import Invalid
from skerry.island.workers.image import DiffusionChoices, models

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def model_in(folder: Path, *, demo: bool = False) -> Path:
    folder.mkdir(parents=True)
    (folder / models.INDEX).write_text("{}")
    if demo:
        (folder / models.DEMO).write_text("{}")
    return folder


def cached(cache: Path, name: str, *, commit: str = COMMIT, ref: str = COMMIT) -> Path:
    place = cache / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(ref)
    return model_in(place / "snapshots" / commit)


@pytest.mark.parametrize(
    "name", ["CompVis/stable-diffusion-v1-4", "sdxl", "a/b", "stabilityai/stable-diffusion-xl-base-1.0", "A_1/b.c-d"]
)
def test_names_of_models(name: str) -> None:
    assert models.check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "/", "a/", "/a", ".", "..", "../a", "a/..", "a/../b", "a/b/c", "a//b", "a b", "a\nb", "a/b\n", "a\0b"),
        *(".a/b", "a/.b", "-a", "a-", "a--b/c", "a..b", "~/a", "C:\\a", "é/a", "%2e%2e/a", "a" * 97, "a/" + "b" * 200),
    ],
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(Invalid, match="is no name of a model"):
        models.check_name(name)


@given(st.text(st.sampled_from("ab./-_\\~\0 \n"), max_size=12))
def test_a_name_stays_beneath_its_directory(name: str) -> None:
    if models.is_name(name):
        root = Path("/models")
        assert root in (root / name).parents
        assert not {"..", "."} & set((root / name).parts)


def test_directories_come_before_the_cache(tmp_path: Path) -> None:
    own, more, cache = tmp_path / "own", tmp_path / "more", tmp_path / "cache"
    first = model_in(own / "org" / "both", demo=True)
    model_in(more / "org" / "both")
    flat = model_in(more / "flat")
    fetched = cached(cache, "org/fetched")
    cached(cache, "org/both")
    found = models.every([own, more], cache)
    assert [(model.name, model.folder, model.source, model.demo) for model in found] == [
        ("flat", flat, "folder", False),
        ("org/both", first, "folder", True),
        ("org/fetched", fetched, "cache", False),
    ]
    assert models.find("org/none", [own, more], cache) is None
    (own / "org" / "empty").mkdir()
    assert models.find("org/empty", [own], cache) is None
    assert models.every([tmp_path / "nowhere"], tmp_path / "nowhere") == []


def test_a_cache_that_lies_is_not_followed(tmp_path: Path) -> None:
    elsewhere = model_in(tmp_path / "elsewhere")
    cached(tmp_path / "cache", "org/odd", ref=f"../../../{elsewhere.name}")
    cached(tmp_path / "cache", "org/half", ref="f" * 40)
    (tmp_path / "cache" / "models--a--b--c").mkdir()
    assert models.every([], tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HF_HOME": "/b"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({}, str(Path.home() / ".cache/huggingface/hub")),
    ],
)
def test_the_cache_is_where_the_hub_s_library_has_it(environ: dict[str, str], place: str) -> None:
    assert models.hub_cache(environ) == Path(place)


def test_choices_come_from_the_environment() -> None:
    found = DiffusionChoices.from_env(
        {
            "SKERRY_DIFFUSION_PYTHON": "/p",
            "SKERRY_DIFFUSION_MODELS": "/a:/b",
            "SKERRY_DIFFUSION_DEFAULT": "org/name",
            "SKERRY_DIFFUSION_HUB": "off",
            "SKERRY_DIFFUSION_PROCESSES": "2",
            "SKERRY_DIFFUSION_MEMORY_BYTES": "3GiB",
            "SKERRY_DIFFUSION_IDLE_SECONDS": "7.5",
        },
        picture_seconds=1.0,
    )
    assert found == DiffusionChoices(
        python=Path("/p"),
        models=(Path("/a"), Path("/b")),
        default_model="org/name",
        hub=False,
        processes=2,
        memory_bytes=3 << 30,
        idle_seconds=7.5,
        picture_seconds=1.0,
    )
    assert found.memory == 3 << 30
    assert DiffusionChoices().memory > 1 << 28


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("HUB", "yes", "it is on or off"),
        ("PROCESSES", "0", "draw nothing"),
        ("PROCESSES", "x", "is unreadable"),
        ("MEMORY_BYTES", "much", "is unreadable"),
        ("IDLE_SECONDS", "0", "more than 0"),
        ("LOAD_SECONDS", "nan", "more than 0"),
        ("DEFAULT", "../x", "is no name of a model"),
    ],
)
def test_choices_that_cannot_be_read(name: str, text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        DiffusionChoices.from_env({f"SKERRY_DIFFUSION_{name}": text})
