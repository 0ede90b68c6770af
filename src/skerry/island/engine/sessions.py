"""Sessions: shell state of a sandbox between runs, and the lane in which its runs follow one another."""

from __future__ import annotations

from collections.abc import Mapping

from skerry.island.engine.records import SessionRecord


class Sessions:
    """A session is state, not a living process."""

    async def create(
        self, account_id: str, sandbox_id: str, *, cwd: str | None = None, env: Mapping[str, str] | None = None
    ) -> SessionRecord:
        """A further session, beginning in `cwd` (the home) with the default environment and `env`.

        Raises:
            NotFound: no such sandbox. Invalid: `cwd` is not absolute, or `env` holds impossible names.
        """
        ...

    async def list(self, account_id: str, sandbox_id: str) -> list[SessionRecord]:
        """The sandbox's sessions, the default one first."""
        ...

    async def get(self, account_id: str, sandbox_id: str, session_id: str) -> SessionRecord:
        """One session. Raises NotFound."""
        ...

    async def delete(self, account_id: str, sandbox_id: str, session_id: str) -> bool:
        """Forget a session, cancelling its runs. Raises NotFound; Invalid for the default session."""
        ...

    async def default(self, sandbox_id: str) -> SessionRecord:
        """The session that runs use when they name none. Raises NotFound."""
        ...
