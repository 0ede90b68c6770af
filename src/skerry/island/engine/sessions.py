"""Sessions: shell state of a sandbox between runs, and the lane in which its runs follow one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy.exc import IntegrityError

from skerry.ids import new_id
from skerry.island.engine.core import Core
from skerry.island.engine.dispatch import Dispatcher
from skerry.island.engine.errors import Invalid, NotFound
from skerry.island.engine.records import SessionRecord
from skerry.island.engine.sandboxes import Sandboxes
from skerry.island.engine.shell import HOME, is_name
from skerry.island.engine.states import SessionStates
from skerry.island.store import sessions as rows


class Sessions:
    """A session is state, not a living process."""

    def __init__(self, core: Core, sandboxes: Sandboxes, states: SessionStates, dispatcher: Dispatcher) -> None:
        self._core = core
        self._sandboxes = sandboxes
        self._states = states
        self._dispatcher = dispatcher

    async def create(
        self, account_id: str, sandbox_id: str, *, cwd: str | None = None, env: Mapping[str, str] | None = None
    ) -> SessionRecord:
        """A further session, beginning in `cwd` (the home) with the default environment and `env`.

        Raises:
            NotFound: no such sandbox. Invalid: `cwd` is not absolute, or `env` holds impossible names.
        """
        sandbox = await self._sandboxes.get(account_id, sandbox_id)
        if cwd is not None and (not cwd.startswith("/") or "\0" in cwd):
            raise Invalid(f"a working directory is an absolute path, not {cwd!r}")
        for name, value in (env or {}).items():
            if not is_name(name) or "\0" in value:
                raise Invalid(f"{name!r} cannot be an environment variable")
        record = SessionRecord(
            id=new_id("ses"),
            sandbox_id=sandbox_id,
            default=False,
            state="idle",
            cwd=cwd or HOME,
            env={**self._states.base_env(sandbox.image), **(env or {})},
            created_at=self._core.clock.now(),
        )
        try:
            await self._core.store.run(rows.add, record, b"")
        except IntegrityError:
            raise NotFound(f"there is no sandbox {sandbox_id}") from None
        return record

    async def of_many(self, sandbox_ids: Sequence[str]) -> dict[str, list[SessionRecord]]:
        """The sessions of sandboxes that the caller is known to own, by sandbox, in one look."""
        found = await self._core.store.read(rows.of_sandboxes, sandbox_ids)
        return {sandbox_id: [self._now(record) for record in records] for sandbox_id, records in found.items()}

    async def list(self, account_id: str, sandbox_id: str) -> list[SessionRecord]:
        """The sandbox's sessions, the default one first."""
        await self._sandboxes.get(account_id, sandbox_id)
        return [self._now(record) for record in await self._core.store.read(rows.of_sandbox, sandbox_id)]

    async def get(self, account_id: str, sandbox_id: str, session_id: str) -> SessionRecord:
        """One session. Raises NotFound."""
        await self._sandboxes.get(account_id, sandbox_id)
        found = await self._core.store.read(rows.get, session_id)
        if found is None or found[0].sandbox_id != sandbox_id:
            raise NotFound(f"there is no session {session_id} in sandbox {sandbox_id}")
        return self._now(found[0])

    async def delete(self, account_id: str, sandbox_id: str, session_id: str) -> bool:
        """Forget a session, cancelling its runs.

        Raises:
            NotFound: no such session. Invalid: the default session lives as long as its sandbox.
        """
        record = await self.get(account_id, sandbox_id, session_id)
        if record.default:
            raise Invalid("the default session lives as long as its sandbox")
        await self._dispatcher.stop_all(self._dispatcher.of_session(session_id), grace=2.0, cause="cancelled")
        self._states.forget(session_id)
        return await self._core.store.run(rows.remove, session_id)

    async def default(self, sandbox_id: str) -> SessionRecord:
        """The session that runs use when they name none. Raises NotFound."""
        found = await self._core.store.read(rows.default, sandbox_id)
        if found is None:
            raise NotFound(f"there is no sandbox {sandbox_id}")
        return self._now(found[0])

    def _now(self, record: SessionRecord) -> SessionRecord:
        return replace(record, state="running") if self._dispatcher.lanes.occupied(record.id) else record
