"""Shells of a VM: the `sessions` object of a handle."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from skerry._io._async.driver import AsyncDriver
from skerry._kernel.model import NOT_GIVEN, NotGiven
from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.arker import operations
from skerry.networks.arker.models import (
    DeleteSessionResponse,
    ListSessionsResponse,
    PtyTicket,
    ResizePtyResponse,
    SessionInfo,
)


class AsyncSessions:
    """Persistent shells of one VM: each keeps its working directory, environment and variables between runs."""

    def __init__(self, driver: AsyncDriver, base_url: str, vm_id: str) -> None:
        self._driver = driver
        self._base_url = base_url
        self._vm_id = vm_id

    async def create(
        self,
        *,
        cwd: str | NotGiven | None = NOT_GIVEN,
        env: Mapping[str, str] | NotGiven | None = NOT_GIVEN,
        options: RequestOptions | None = None,
    ) -> SessionInfo:
        """Open a shell (protocol section 3.6).

        Args:
            cwd: where it starts; the VM's home by default.
            env: added to its environment.
            options: for this call.

        Raises:
            ArkerError: the service refused or could not be reached.
        """
        fields = {"env": env, "cwd": cwd}
        return await self._driver.send(operations.create_session(self._base_url, self._vm_id, fields), options)

    async def list(self, *, options: RequestOptions | None = None) -> ListSessionsResponse:
        """All shells of the VM, the default one included (protocol section 3.6).

        Raises:
            ArkerError: the service refused or could not be reached.
        """
        return await self._driver.send(operations.list_sessions(self._base_url, self._vm_id), options)

    async def delete(self, session_id: str, *, options: RequestOptions | None = None) -> DeleteSessionResponse:
        """Close a shell; its runs are cancelled (protocol section 3.6).

        Raises:
            ArkerNotFoundError: there is no such shell.
            ArkerError: anything else went wrong.
        """
        return await self._driver.send(operations.delete_session(self._base_url, self._vm_id, session_id), options)

    async def resize(
        self, session_id: str, *, cols: int, rows: int, options: RequestOptions | None = None
    ) -> ResizePtyResponse:
        """Tell a shell's terminal its size (protocol section 3.6).

        Args:
            session_id: which shell.
            cols: width in characters.
            rows: height in characters.
            options: for this call.

        Raises:
            ArkerError: the service refused or could not be reached.
        """
        call = operations.resize_session(self._base_url, self._vm_id, session_id, cols, rows)
        return await self._driver.send(call, options)

    async def ticket(self, session_id: str, *, options: RequestOptions | None = None) -> PtyTicket:
        """A one-time right to attach to a shell's terminal, for those who cannot send headers (section 6).

        Raises:
            ArkerError: the service refused or could not be reached.
        """
        return await self._driver.send(operations.pty_ticket(self._base_url, self._vm_id, session_id), options)

    async def terminal_url(
        self,
        session_id: str,
        *,
        cols: int | None = None,
        rows: int | None = None,
        command: str | None = None,
        persist: bool | None = None,
        options: RequestOptions | None = None,
    ) -> str:
        """A WebSocket URL at which a shell's terminal can be used once, without any header (section 6).

        Args:
            session_id: which shell.
            cols: width in characters.
            rows: height in characters.
            command: what to run in place of the shell.
            persist: keep it running when nobody is attached.
            options: for the request of the ticket.

        Raises:
            ArkerError: the service refused or could not be reached.
        """
        right = await self.ticket(session_id, options=options)
        return operations.terminal_url(
            self._base_url,
            self._vm_id,
            session_id,
            ticket=right.ticket,
            cols=cols,
            rows=rows,
            command=command,
            persist=persist,
        )

    @cached_property
    def with_raw_response(self) -> AsyncRawSessions:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawSessions(self)


class AsyncRawSessions:
    """The methods of `AsyncSessions`, returning `RawResponse` objects."""

    def __init__(self, sessions: AsyncSessions) -> None:
        self.create = async_raw(sessions.create)
        self.list = async_raw(sessions.list)
        self.delete = async_raw(sessions.delete)
        self.resize = async_raw(sessions.resize)
        self.ticket = async_raw(sessions.ticket)
