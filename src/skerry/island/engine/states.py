"""What sessions are between runs, kept at hand: reading it from the store before every run would double its cost."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from sqlalchemy import Connection

from skerry.island.engine.core import Core
from skerry.island.engine.errors import NotFound
from skerry.island.engine.refusals import translated
from skerry.island.engine.shell import DEFAULT_PATH, Shell, ShellState, default_env, saved
from skerry.island.sandbox.driver import RootFs
from skerry.island.store import sessions as rows

_KEPT = 512


class SessionStates:
    """Shell states by session id, and which shell an image has."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._states: OrderedDict[str, tuple[str, ShellState]] = OrderedDict()
        self._blobs: dict[str, bytes] = {}
        self._defaults: dict[str, str] = {}
        self._shells: dict[str, Shell] = {}
        self._environments: dict[str, dict[str, str]] = {}

    async def default_id(self, sandbox_id: str) -> str:
        """The id of a sandbox's default session. Raises NotFound."""
        known = self._defaults.get(sandbox_id)
        if known is None:
            found = await self._core.store.read(rows.default, sandbox_id)
            if found is None:
                raise NotFound(f"there is no sandbox {sandbox_id}")
            known = self._defaults[sandbox_id] = found[0].id
        return known

    async def load(self, sandbox_id: str, session_id: str) -> ShellState:
        """The state of a session of a sandbox. Raises NotFound."""
        kept = self._states.get(session_id)
        if kept is None:
            found = await self._core.store.read(rows.get, session_id)
            if found is not None:
                record, script = found
                kept = (record.sandbox_id, ShellState(record.cwd, record.env, script))
                self.remember(session_id, *kept)
        else:
            self._states.move_to_end(session_id)
        if kept is None or kept[0] != sandbox_id:
            raise NotFound(f"there is no session {session_id} in sandbox {sandbox_id}")
        return kept[1]

    def save(self, connection: Connection, session_id: str, state: ShellState) -> None:
        """Write a state in the caller's transaction; `remember` it after the commit."""
        rows.save(connection, session_id, state.cwd, state.env, state.script)

    def remember(self, session_id: str, sandbox_id: str, state: ShellState) -> None:
        """Keep a stored state at hand."""
        self._states[session_id] = (sandbox_id, state)
        self._states.move_to_end(session_id)
        self._blobs.pop(session_id, None)
        if len(self._states) > _KEPT:
            oldest, _ = self._states.popitem(last=False)
            self._blobs.pop(oldest, None)

    def after(
        self, session_id: str, image: str, before: ShellState, blob: bytes | None, overrides: Mapping[str, str]
    ) -> ShellState | None:
        """The state that a shell told when it ended; None when it is as before.

        Most commands change nothing: what the shell told last time is compared before anything is taken apart.
        """
        if blob is not None and not overrides and self._blobs.get(session_id) == blob:
            return None
        found = saved(self.shell(image), before, blob, overrides)
        if found != before:
            return found
        if blob is not None and not overrides and session_id in self._states:
            self._blobs[session_id] = blob
        return None

    def forget(self, session_id: str) -> None:
        """A session is gone."""
        self._states.pop(session_id, None)
        self._blobs.pop(session_id, None)

    def forget_sandbox(self, sandbox_id: str) -> None:
        """A sandbox is gone, with its sessions."""
        self._defaults.pop(sandbox_id, None)
        for session_id in [key for key, kept in self._states.items() if kept[0] == sandbox_id]:
            self.forget(session_id)

    def shell(self, image: str) -> Shell:
        """The best shell of an image.

        Raises:
            NotFound: the image is gone.
        """
        known = self._shells.get(image)
        if known is None:
            with translated():
                root = self._core.images.rootfs(image)
            known = self._shells[image] = find_shell(root)
        return known

    def base_env(self, image: str) -> dict[str, str]:
        """The environment a new session or a program without session starts with. Raises as `shell`."""
        known = self._environments.get(image)
        if known is None:
            with translated():
                root = self._core.images.rootfs(image)
            known = self._environments[image] = {**default_env(), "SHELL": self.shell(image).path, **root.env}
        return dict(known)


def find_shell(root: RootFs) -> Shell:
    """bash where the root has it, else sh."""
    for directory in DEFAULT_PATH.split(":"):
        if _has(root, f"{directory}/bash"):
            return Shell("bash", f"{directory}/bash")
    return Shell("sh", "/bin/sh")


def _has(root: RootFs, path: str) -> bool:
    """Whether a path exists in a root, following links in its directories as the root itself would."""
    place = PurePosixPath("/")
    parts = list(PurePosixPath(path).parts[1:])
    for _ in range(64):
        if not parts:
            return True
        step = place / parts.pop(0)
        host = _on_host(root, step)
        if host is None or not os.path.lexists(host):
            return False
        if host.is_symlink():
            target = PurePosixPath(os.readlink(host))
            parts = [*(target.parts[1:] if target.is_absolute() else target.parts), *parts]
            place = PurePosixPath("/") if target.is_absolute() else place
        else:
            place = PurePosixPath(os.path.normpath(step))
    return False


def _on_host(root: RootFs, path: PurePosixPath) -> Path | None:
    for tree, shown in root.binds:
        if path.is_relative_to(shown):
            return tree / path.relative_to(shown)
    return root.directory / path.relative_to("/")
