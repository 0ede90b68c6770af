"""`skerry sandbox shell`: this terminal, in a sandbox."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skerry.cli import exits, island_link, output
from skerry.cli.options import data_dir_option
from skerry.cli.sandbox_ids import complete_sandbox
from skerry.errors import ConfigurationError, ConnectionFailedError

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection


@click.command()
@click.argument("sandbox_id", metavar="SANDBOX", shell_complete=complete_sandbox)
@click.option("-c", "--command", help="What to run instead of a login shell.")
@data_dir_option
def shell(sandbox_id: str, *, command: str | None, directory: Path) -> int:
    """Open a terminal in a sandbox; it ends with the shell in it, and with its exit status."""
    try:
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect
    except ModuleNotFoundError:
        raise ConfigurationError("a terminal needs websockets: pip install 'skerry[island]'") from None

    if not sys.stdin.isatty():
        raise click.UsageError("a terminal is needed; for scripts use: skerry sandbox run SANDBOX -- sh -c '...'")
    size = shutil.get_terminal_size()
    link = island_link.need(directory)
    with link.arker() as arker:
        vm = arker.vm(sandbox_id)
        session = vm.sessions.create()
        try:
            url = vm.sessions.terminal_url(session.session_id, cols=size.columns, rows=size.lines, command=command)
            # The island is on this machine: no proxy stands between, whatever the environment says.
            with connect(url, proxy=None, max_size=None) as wire:
                code = _converse(wire)
        except (OSError, WebSocketException) as error:
            raise ConnectionFailedError(f"the terminal could not be opened: {error}") from error
        finally:
            vm.sessions.delete(session.session_id)
    output.note("skerry: terminal closed")
    return exits.OK if code is None else code


def _converse(wire: ClientConnection) -> int | None:
    """Copy both ways until the other end closes; the shell's exit status, if it was told."""
    from websockets.exceptions import ConnectionClosed

    over_read, over_write = os.pipe()
    told: list[int] = []

    def relay() -> None:
        try:
            for message in wire:
                if isinstance(message, bytes):
                    os.write(sys.stdout.fileno(), message)
                elif (event := json.loads(message)).get("type") == "exit":
                    told.append(event["code"])
        except ConnectionClosed:
            pass
        finally:
            os.write(over_write, b".")

    reader = threading.Thread(target=relay, daemon=True)
    with _raw_terminal(), _resizing(wire):
        reader.start()
        try:
            while True:
                ready, _, _ = select.select([sys.stdin, over_read], [], [])
                if over_read in ready:
                    break
                typed = os.read(sys.stdin.fileno(), 65536)
                if not typed:
                    break
                wire.send(typed)
        except ConnectionClosed:
            pass
        finally:
            wire.close()
            reader.join(timeout=5)
    os.close(over_read)
    os.close(over_write)
    return told[-1] if told else None


@contextmanager
def _raw_terminal() -> Iterator[None]:
    """Let every key through as it is typed; the terminal is put back whatever happens."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    # Not the default, which throws away what was typed ahead.
    tty.setraw(descriptor, termios.TCSADRAIN)
    # Whoever is ended from outside leaves it as it was too.
    usual = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        for number, handler in usual.items():
            signal.signal(number, handler)


def _leave(number: int, _: object) -> None:
    sys.exit(128 + number)


@contextmanager
def _resizing(wire: ClientConnection) -> Iterator[None]:
    """Tell the sandbox when this window changes."""

    def tell(*_: object) -> None:
        size = shutil.get_terminal_size()
        wire.send(json.dumps({"type": "resize", "cols": size.columns, "rows": size.lines}))

    before = signal.signal(signal.SIGWINCH, tell)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
