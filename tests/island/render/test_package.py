"""What may be handed in, and what may not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.island.engine.errors import EngineError, Invalid, TooLarge
from skerry.island.workers.render import package
from skerry.island.workers.render.said import parse, said_lines


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("sign", [b"BLENDER-v304", b"BLENDER17-01v0500", b"\x28\xb5\x2f\xfd..", b"\x1f\x8b......"])
def test_blend_files(tmp_path: Path, sign: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(sign)
    assert package.inspect(path).scene is None


def test_a_package(tmp_path: Path) -> None:
    files = {"shot.blend": b"BLENDER", "old/shot.blend": b"", "enabled_addons.json": json.dumps(["a", "b"]).encode()}
    found = package.inspect(zipped(tmp_path / "p.zip", files))
    assert (found.name, found.scene, found.addons) == ("package.zip", "shot.blend", ("a", "b"))


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"readme": b""},
        {"a.blend": b"", "b.blend": b""},
        {"deep/a.blend": b""},
        {"a.blend": b"", "../../etc/x": b""},
        {"a.blend": b"", "/etc/x": b""},
        {"a.blend": b"", "c/../../x": b""},
        {"a.blend": b"", "..\\x": b""},
        {"a.blend": b"", "enabled_addons.json": b"{}"},
        {"a.blend": b"", "enabled_addons.json": b"[1]"},
        {"a.blend": b"", "enabled_addons.json": b"not json"},
        {"a.blend": b"", "enabled_addons.json": b" " * 70_000},
    ],
)
def test_zips_that_are_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(Invalid):
        package.inspect(zipped(tmp_path / "p.zip", files))


def test_bombs_are_refused_by_what_they_say_of_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "p.zip", {"a.blend": b"\0" * (1 << 20)})
    monkeypatch.setattr(package, "MOST_UNPACKED", 1 << 19)
    with pytest.raises(TooLarge):
        package.inspect(path)
    monkeypatch.setattr(package, "MOST_ENTRIES", 0)
    with pytest.raises(TooLarge):
        package.inspect(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"PK\x03\x04"]), st.booleans())
def test_anything_else_is_refused_politely(tmp_path: Path, noise: bytes, head: bytes, end: bool) -> None:
    path = tmp_path / "noise"
    path.write_bytes(head + noise + (b"PK\x05\x06" + b"\0" * 18 if end else b""))
    with contextlib.suppress(EngineError):
        assert package.inspect(path).name in ("scene.blend", "package.zip")


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30), max_size=8), st.data())
def test_what_is_said_does_not_depend_on_how_it_is_cut(lines: list[bytes], data: st.DataObject) -> None:
    text = b"\n".join(
        [*(line.replace(b"\n", b"") for line in lines), b"skerry frame 3", b"x" * 5000, b"skerry note a b"]
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    async def come() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def hear() -> list[tuple[str, str]]:
        return [found async for found in said_lines(come())]

    heard = asyncio.run(hear())
    assert heard == [found for line in text.split(b"\n") if (found := parse(line)) is not None]
    assert heard[-2:] == [("frame", "3"), ("note", "a b")]
