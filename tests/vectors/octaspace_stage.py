"""A stage for OctaSpace's cases: answers as recorded, a clock that stands still, sleep that is noted."""

from __future__ import annotations

from typing import Any

from skerry._kernel.effects import Effects
from skerry._kernel.options import Deadline
from skerry._kernel.request import Request, Response, TransportFailure
from skerry.networks.octaspace import RequestContext, ResponseContext
from tests.vectors.octaspace_records import OctaCase, body_of, stubs_of

CHANCE = 0.5
"""What the source of randomness gives where nothing was recorded."""


class OctaStage:
    """What happened in one replay: answers are served in order, the last one for ever."""

    def __init__(self, case: OctaCase) -> None:
        content = case.content
        self._stubs = stubs_of(case)
        self._chances = iter(content.get("random_sequence") or [])
        self._signal = content.get("signal")
        self._why = (content.get("error") or {}).get("message")
        self.sent: list[Request] = []
        self.slept: list[float] = []
        self.told: list[dict[str, Any]] = []
        self._contexts: list[RequestContext] = []
        self.deadline = None if self._signal is None else Deadline()
        if self._signal == "pre-aborted":
            self._give_up()
        self.effects = Effects(
            monotonic=lambda: 0.0,
            unix_ms=lambda: 0,
            random=lambda: float(next(self._chances, CHANCE)),
            entropy=lambda count: bytes(count),
        )

    def answer(self, request: Request) -> Response:
        """Note the request and give the next recorded answer."""
        self.sent.append(request)
        if self._signal is not None:
            self._give_up()
            raise TransportFailure("given up", "timeout")
        stub = self._stubs.pop(0) if len(self._stubs) > 1 else self._stubs[0]
        if "network_error" in stub:
            raise TransportFailure(stub["network_error"])
        if "abort_error" in stub or "timeout_error" in stub:
            raise TransportFailure("no complete answer in time", "timeout")
        headers = tuple((name.lower(), str(value)) for name, value in (stub.get("headers") or {}).items())
        return Response(stub["status"], headers, body_of(stub))

    def _give_up(self) -> None:
        assert self.deadline is not None
        # A reason of the caller's own is what its error says (section 4.3).
        self.deadline.cancel(*([] if self._why in (None, "Request was aborted") else [self._why]))

    async def async_sleep(self, seconds: float, deadline: Deadline | None = None) -> None:
        """Note the wait instead of waiting."""
        self.slept.append(seconds)

    def sleep(self, seconds: float, deadline: Deadline | None = None) -> None:
        """Note the wait instead of waiting."""
        self.slept.append(seconds)

    def on_request(self, context: RequestContext) -> None:
        """Note what the hook is told."""
        self._contexts.append(context)
        self.told.append(
            {
                "hook": "onRequest",
                "method": context.method,
                "url": context.url,
                "attempt": context.attempt,
                "body": context.body,
                "header_names": sorted(name.lower() for name in context.headers),
            }
        )

    def on_response(self, context: ResponseContext) -> None:
        """Note what the hook is told."""
        self.told.append(
            {
                "hook": "onResponse",
                "status": context.status,
                "request_attempt": context.request.attempt,
                "same_ctx_object": context.request is self._contexts[-1],
                "durationMs_is_int": type(context.duration_ms) is int,
            }
        )

    def hooks(self, case: OctaCase) -> dict[str, Any]:
        """The hooks as arguments of the client, where the case has any."""
        if "hooks" not in case.content:
            return {}
        return {"on_request": self.on_request, "on_response": self.on_response}
