"""The farm's pure rules: task numbers, operations, what `job_data` asks for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.engine.errors import Invalid
from skerry.island.faces.octaspace.farm.manager import spec_of
from skerry.island.faces.octaspace.farm.operations import Unrecognised, wants_scripts
from skerry.island.faces.octaspace.farm.tasks import frame_range, frames_of, tasks
from skerry.island.faces.octaspace.farm.wire import config

BLENDER = ["-b", "{node_folder}/scene.blend", "-y", "-s", "{(node_task-1)*5+1}", "-a", "--", "-enable_devices"]


def test_the_examples_of_the_protocol() -> None:
    assert list(tasks(1, 10, batch=5)) == [1, 2]
    assert [list(frames_of(task, 1, batch=5)) for task in (1, 2)] == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]
    assert list(tasks(1, 10, step=3)) == [1, 2, 3, 4]
    assert [list(frames_of(task, 1, step=3)) for task in (1, 2, 3, 4)] == [[1], [4], [7], [10]]
    assert list(tasks(3, 7)) == [3, 4, 5, 6, 7]
    encoded = "WyJodHRwczovL2Zhcm0uZXhhbXBsZS50ZXN0IiwgImtra2tra2trIiwgInExIl0="
    assert config("https://farm.example.test", "kkkkkkkk", "q1") == encoded


@given(first=st.integers(0, 500), count=st.integers(1, 200), batch=st.integers(1, 9), step=st.integers(1, 9))
def test_tasks_and_frames_agree(first: int, count: int, batch: int, step: int) -> None:
    last = first + count * batch - 1
    numbers = tasks(first, last, batch=batch, step=step)
    frames = [frame for task in numbers for frame in frames_of(task, first, batch=batch, step=step)]
    assert frames == list(range(first, last + 1, 1 if batch != 1 else step))
    lowest, highest, every = frame_range(numbers[0], numbers[-1], batch=batch, step=step)
    assert list(range(lowest, highest + 1, every)) == frames


@pytest.mark.parametrize(
    ("operations", "scripts"),
    [
        (None, False),
        ([], False),
        ([{"operation": "exe", "arguments": BLENDER}], True),
        ([{"operation": "exe", "arguments": " ".join(BLENDER)}], True),
        ([{"operation": "exe", "arguments": {"exe": "{node_blender45}", "args": BLENDER}}], True),
        ([{"operation": "exe", "arguments": [word for word in BLENDER if word != "-y"]}], False),
        ([{"operation": "exe", "arguments": ["apt-get", "install", "-y"]}], False),
        ([{"operation": "stopwatch", "arguments": BLENDER}, {"operation": "octa_analytics"}], False),
        ([{"operation": "exe", "arguments": ["{__import__('os').system('id')}"]}], False),
    ],
)
def test_operations_are_recognised(operations: Any, scripts: bool) -> None:
    assert wants_scripts(operations) is scripts


@pytest.mark.parametrize("operations", ["x", {}, [1], [{"operation": "eval"}], [{}], [{"operation": "exe"}] * 65])
def test_other_operations_are_refused(operations: Any) -> None:
    with pytest.raises(Unrecognised):
        wants_scripts(operations)


def test_deep_operations_end() -> None:
    deep: Any = "-b -y"
    for _ in range(50):
        deep = [deep]
    assert not wants_scripts([{"operation": "exe", "arguments": deep}])


def test_what_job_data_asks_for() -> None:
    spec = spec_of({"start": 1, "end": 4, "frame_step": 3, "render_format": "JPEG"}, scripts=True)
    assert (list(spec.frames()), spec.format, spec.batch, spec.scripts) == ([1, 4, 7, 10], "JPEG", None, True)
    spec = spec_of({"start": 1, "end": 2, "batch_size": 5, "match_scene_format": True}, scripts=False)
    assert (len(spec.frames()), spec.format, spec.batch, spec.scripts) == (10, None, 5, False)


@pytest.mark.parametrize(
    "change",
    [
        {"start": None},
        {"start": "1"},
        {"start": True},
        {"start": -1},
        {"end": 0},
        {"end": 1 << 40},
        {"end": 500_000},
        {"batch_size": 0},
        {"frame_step": 0},
        {"frame_step": 1.5},
        {"render_format": "FFMPEG"},
        {"render_format": 7},
        {"render_engine": "__import__"},
        {"render_engine": []},
        {"match_scene_format": "yes"},
    ],
)
def test_what_it_cannot_ask_for(change: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        spec_of({"start": 1, "end": 4, **change}, scripts=False)
