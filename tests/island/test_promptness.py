"""Short turns of the processor: for the threads that carry a run, not for what they start."""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from skerry.errors import ConfigurationError
from skerry.island.promptness import be_prompt
from skerry.island.server import Server
from skerry.island.settings import Settings

T = TypeVar("T")

POLICY = [sys.executable, "-ISc", "import os; print(os.sched_getscheduler(0))"]


def elsewhere(work: Callable[[], T]) -> T:
    """Run in a thread of its own, whose scheduling is nobody else's."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(60)


def prompt(thread_id: int) -> bool:
    return bool(os.sched_getscheduler(thread_id) & os.SCHED_RESET_ON_FORK)


def turn_ns() -> int:
    """The length of the calling thread's turns, 0 where it is the kernel's own choice."""
    number = {"x86_64": 315, "aarch64": 275}[platform.machine()]
    attr = ctypes.create_string_buffer(48)
    assert ctypes.CDLL(None).syscall(number, 0, attr, 48, 0) == 0
    return int(struct.unpack("=IIQiIQQQ", attr)[5])


def test_a_thread_gets_short_turns_and_what_it_starts_does_not() -> None:
    def work() -> None:
        before = turn_ns()
        assert be_prompt()
        assert prompt(threading.get_native_id())
        if tuple(map(int, platform.release().split(".")[:2])) >= (6, 12):
            assert turn_ns() == 100_000 != before
        assert subprocess.run(POLICY, capture_output=True, check=True, text=True).stdout == f"{os.SCHED_OTHER}\n"
        assert not elsewhere(lambda: prompt(threading.get_native_id()))

    elsewhere(work)


def test_a_priority_that_the_owner_chose_is_left_alone() -> None:
    def work() -> None:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        assert not be_prompt()
        assert os.sched_getscheduler(0) == os.SCHED_BATCH

    elsewhere(work)


def test_a_server_is_prompt_in_the_thread_that_serves(tmp_path: Path) -> None:
    async def serve() -> bool:
        (tmp_path / "taken").touch()
        with pytest.raises(ConfigurationError):
            await Server(Settings(data_dir=tmp_path / "taken")).run()
        return prompt(threading.get_native_id())

    assert elsewhere(lambda: asyncio.run(serve()))
