"""Runs: commands accepted once, found again after any crash, read while they go on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from skerry.island.engine.idempotency import IdempotencyKey
from skerry.island.engine.records import RunRecord
from skerry.island.sandbox.spec import Limits


class Runs:
    """Every call takes the account that asks, except those that take a run id or record got from one that does."""

    async def submit(
        self,
        account_id: str,
        sandbox_id: str,
        *,
        id: str,
        command: str | Sequence[str],
        session_id: str | None = None,
        background: bool = False,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        limits: Limits | None = None,
        idempotency: IdempotencyKey | None = None,
        labels: Mapping[str, str] | None = None,
        sessionless: bool = False,
    ) -> RunRecord:
        """Accept a command: recorded, paid for in advance, queued in its session, and on its way.

        A bound idempotency key with the same fingerprint returns the original record and starts nothing.

        Args:
            account_id: owner.
            sandbox_id: where.
            id: chosen by the face, unique, `[A-Za-z0-9_-]{1,64}`.
            command: text for the session's shell, or a program with arguments, which runs without one.
            session_id: the default session when None.
            background: kept with the record; a face decides what it means to its caller.
            timeout: seconds from its start after which it is ended (exit code 124).
            env: variables for this run only.
            stdin: what it reads on standard input.
            limits: other bounds than the sandbox's for this run: `Unsupported` unless they are the same.
            idempotency: binds the caller's key in the same transaction; not bound when this call raises.
            labels: kept and returned.
            sessionless: run text in a fresh shell beside every session, keeping nothing.

        Raises:
            NotFound: sandbox or session. Invalid: impossible command. Conflict: key bound to another request, or the
            id is taken. PaymentRequired: not enough to begin. Unavailable: the disk is full, or stopping.
        """
        ...

    async def wait(self, run_id: str, timeout: float | None = None) -> RunRecord:
        """The run once it has ended, or as it is after `timeout` seconds. Raises NotFound."""
        ...

    async def get(self, account_id: str, sandbox_id: str | None, run_id: str) -> RunRecord:
        """One run; in any of the account's sandboxes when `sandbox_id` is None. Raises NotFound."""
        ...

    async def list(
        self, account_id: str, sandbox_id: str | None = None, *, limit: int = 1000, active: bool = False
    ) -> list[RunRecord]:
        """The account's runs, newest first; only those not yet ended with `active`."""
        ...

    async def output(self, run: RunRecord) -> tuple[bytes, bytes]:
        """Standard output and standard error so far, of the latest attempt."""
        ...

    def follow(self, run_id: str, stream: str = "stdout", offset: int = 0) -> AsyncIterator[bytes]:
        """Bytes of a stream from `offset` as they appear, ending with the run."""
        ...

    async def cancel(self, account_id: str, sandbox_id: str, run_id: str, *, grace: float = 2.0) -> bool:
        """End a run: SIGTERM (exit 143), after `grace` seconds SIGKILL (137). Returns once it has ended.

        False when it had already ended. Raises NotFound.
        """
        ...

    async def signal(self, account_id: str, sandbox_id: str, run_id: str, number: int) -> bool:
        """Send a signal to a run's processes; False when it is not running. Raises NotFound."""
        ...

    async def busy(self) -> bool:
        """Whether any run is queued or going on."""
        ...
