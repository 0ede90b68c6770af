"""A terminal in a sandbox, used through a terminal of our own."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import termios
import time

import pytest

from tests.cli.command import Skerry

DEADLINE = 60.0


class Screen:
    """What a person would see of a command, and type into it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.shown = b""

    def wait_for(self, text: bytes) -> None:
        deadline = time.monotonic() + DEADLINE
        while text not in self.shown:
            ready, _, _ = select.select([self.descriptor], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{text!r} did not appear in {self.shown!r}"
            try:
                self.shown += os.read(self.descriptor, 65536)
            except OSError:
                pytest.fail(f"the terminal closed before {text!r}: {self.shown!r}")

    def type(self, text: bytes) -> None:
        os.write(self.descriptor, text)


def test_a_shell_is_typed_into_sized_and_left(island: Skerry) -> None:
    box = island("sandbox", "fork").text.strip()
    ours, theirs = pty.openpty()
    shell = island.popen("sandbox", "shell", box, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    try:
        screen = Screen(ours)
        screen.type(b"echo $((6 * 7))typed-ahead\n")
        screen.wait_for(b"42typed-ahead")
        screen.type(b"stty size; echo $((6 * 7))ready\r")
        screen.wait_for(b"42ready")
        screen.type(b"exit 7\r")
        _, said = shell.communicate(timeout=DEADLINE)
    finally:
        shell.kill()
        shell.communicate()
        os.close(ours)
    assert shell.returncode == 7, said
    assert b"terminal closed" in said
    island("sandbox", "rm", box)


def test_a_shell_that_is_ended_from_outside_leaves_the_terminal_as_it_was(island: Skerry) -> None:
    box = island("sandbox", "fork").text.strip()
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    shell = island.popen("sandbox", "shell", box, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
    try:
        screen = Screen(ours)
        screen.type(b"echo $((6 * 7))ready\n")
        screen.wait_for(b"42ready")
        assert termios.tcgetattr(theirs) != before
        shell.terminate()
        shell.communicate(timeout=DEADLINE)
        assert termios.tcgetattr(theirs) == before
    finally:
        shell.kill()
        shell.communicate()
        os.close(ours)
        os.close(theirs)
    assert shell.returncode == 128 + signal.SIGTERM
    island("sandbox", "rm", box)


def test_without_a_terminal_a_shell_says_what_to_use(island: Skerry) -> None:
    refused = island("sandbox", "shell", "vmh-any")
    assert refused.status == 2
    assert "sandbox run" in refused.stderr
