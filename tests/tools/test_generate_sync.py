"""The translation from asynchronous to synchronous code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from tools.generate_sync import main, rename, translate

from tools import generate_sync

SOURCE = '''
"""About `AsyncThing`: await nothing, see `x._async.y`; asynchronous."""
from skerry.x._async.y import AsyncThing, async_sleep
class AsyncThing:
    async def __aenter__(self): return await self.aread()
    async def go(self, items: AsyncIterator[int]):
        async with self as s:  # async with a comment
            async for item in items:
                await (async_sleep(item))
                yield [x async for x in s]
        raise StopAsyncIteration
'''

EXPECTED = '''
"""About `Thing`: nothing, see `x._sync.y`; synchronous."""
from skerry.x._sync.y import Thing, sleep
class Thing:
    def __enter__(self): return self.read()
    def go(self, items: Iterator[int]):
        with self as s:  # with a comment
            for item in items:
                (sleep(item))
                yield [x for x in s]
        raise StopIteration
'''


def test_translation() -> None:
    assert translate(SOURCE) == EXPECTED
    ast.parse(EXPECTED)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AsyncArker", "Arker"),
        ("_AsyncPool", "_Pool"),
        ("Asynchronous", "Asynchronous"),
        ("asynchronous", "asynchronous"),
        ("async_raw", "raw"),
        ("aclose", "close"),
        ("asyncio", "asyncio"),
        ("close", "close"),
    ],
)
def test_names(name: str, expected: str) -> None:
    assert rename(name) == expected


def test_text_without_anything_to_do_is_left_alone() -> None:
    for path in (Path(generate_sync.__file__), Path(__file__)):
        source = path.read_text(encoding="utf-8").replace("async", "a-sync").replace("Async", "A-sync")
        source = source.replace("await", "a-wait")
        for name in generate_sync.NAMES:
            source = source.replace(name, "x")
        assert translate(source) == source


def test_the_committed_twins_are_current() -> None:
    assert main(["--check"]) == 0


def test_a_stale_twin_is_found_and_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate_sync, "ROOT", tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\nline-length = 120\n")
    source = tmp_path / "src" / "_async" / "thing.py"
    source.parent.mkdir(parents=True)
    source.write_text("async def go() -> None:\n    await other()\n")
    orphan = tmp_path / "src" / "_sync" / "gone.py"
    orphan.parent.mkdir()
    orphan.write_text("")
    assert main(["--check"]) == 1
    assert main([]) == 0
    assert not orphan.exists()
    twin = tmp_path / "src" / "_sync" / "thing.py"
    assert twin.read_text().endswith("def go() -> None:\n    other()\n")
    assert "do not edit" in twin.read_text()
    assert main(["--check"]) == 0
    assert "out of date: src/_sync/thing.py" in capsys.readouterr().out
