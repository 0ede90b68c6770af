"""What a run returns: one of three results, told apart by `type` or by class (section 4.1)."""

from __future__ import annotations

from typing import Any, Literal

from skerry._kernel.model import Model, parse_json, remember, view
from skerry._kernel.request import Response
from skerry.networks.arker.codes import protocol_error
from skerry.networks.arker.encoding import decode_text
from skerry.networks.arker.models import RunNetworkStatus, RunTunnelStatus


class CompletedRunResult(Model, frozen=True, kw_only=True):
    """A command that ran to its end.

    Attributes:
        stdout: everything written to standard output, nothing trimmed.
        stderr: the same for standard error.
        exit_code: the command's own.
        stdout_encoding: how standard output travelled.
        stderr_encoding: how standard error travelled.
    """

    stdout: bytes
    stdout_encoding: str
    stderr: bytes
    stderr_encoding: str
    exit_code: int
    completed: Literal[True] = True
    type: Literal["completed"] = "completed"

    @property
    def ok(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code == 0

    @property
    def stdout_text(self) -> str:
        """Standard output as text, with replacement characters where it is not UTF-8."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def stderr_text(self) -> str:
        """Standard error as text, with replacement characters where it is not UTF-8."""
        return self.stderr.decode("utf-8", "replace")


class BackgroundRunResult(Model, frozen=True, kw_only=True):
    """A command that was started; ask for it by `run_id`."""

    run_id: str
    completed: bool
    tunnels: list[RunTunnelStatus]
    network: RunNetworkStatus | None
    type: Literal["background"] = "background"


class PtyRunResult(Model, frozen=True, kw_only=True):
    """A terminal, to be attached to at `ws_url`."""

    session_id: str
    ws_url: str
    pty: Literal[True] = True
    type: Literal["pty"] = "pty"


RunResult = CompletedRunResult | BackgroundRunResult | PtyRunResult


def parse_run(response: Response) -> RunResult:
    """Read the answer to a run, checking in the order and with the words of section 3.4.

    Raises:
        ArkerProtocolError: the answer has none of the three shapes, or one of them with a fault.
    """
    payload = parse_json(response.body)
    if not isinstance(payload, dict):
        raise protocol_error("run response must be an object")
    result: RunResult
    if isinstance(payload.get("stdout"), str):
        result = _completed(payload)
    elif isinstance(payload.get("run_id"), str):
        result = _background(payload)
    elif payload.get("pty") is True:
        result = PtyRunResult(
            session_id=_text(payload, "session_id", "run response"), ws_url=_text(payload, "ws_url", "run response")
        )
    else:
        raise protocol_error("unrecognized run response shape")
    return remember(result, response.body)


def _completed(payload: dict[str, Any]) -> CompletedRunResult:
    stdout_encoding = _text(payload, "stdout_encoding", "run response")
    stderr = payload.get("stderr")
    if not isinstance(stderr, str):
        raise protocol_error("run response.stderr must be a string")
    stderr_encoding = _text(payload, "stderr_encoding", "run response")
    if payload.get("completed") is not True:
        raise protocol_error("completed run response must have completed=true")
    exit_code = payload.get("exit_code")
    if isinstance(exit_code, bool) or not isinstance(exit_code, (int, float)):
        raise protocol_error("run response.exit_code must be a number")
    return CompletedRunResult(
        stdout=decode_text(payload["stdout"], stdout_encoding),
        stdout_encoding=stdout_encoding,
        stderr=decode_text(stderr, stderr_encoding),
        stderr_encoding=stderr_encoding,
        exit_code=_whole(exit_code),
    )


def _background(payload: dict[str, Any]) -> BackgroundRunResult:
    tunnels, network = payload.get("tunnels"), payload.get("network")
    return BackgroundRunResult(
        run_id=payload["run_id"],
        # What counts as false is what does in JavaScript.
        completed=payload.get("completed") not in (None, False, 0, ""),
        tunnels=[view(tunnel, RunTunnelStatus) for tunnel in tunnels] if isinstance(tunnels, list) else [],
        network=view(network, RunNetworkStatus) if isinstance(network, dict) else None,
    )


def _whole(number: Any) -> Any:
    # The protocol asks for a number and no more; one that is not whole is kept as it came.
    return number if isinstance(number, float) and not number.is_integer() else int(number)


def _text(payload: dict[str, Any], name: str, where: str) -> str:
    value = payload.get(name)
    if not isinstance(value, str) or not value:
        raise protocol_error(f"{where}.{name} must be a non-empty string")
    return value
