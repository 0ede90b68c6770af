"""Models in the manner of OpenAI (section 3.8)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import cached_property
from typing import Any, Unpack

from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry._kernel.request import Response
from skerry.networks.dc1 import models, operations
from skerry.networks.dc1._async.resource import AsyncResource
from skerry.networks.dc1.answers import from_text
from skerry.networks.dc1.codes import streamed_error
from skerry.networks.dc1.inputs import ChatInput
from skerry.networks.dc1.models import Completion
from skerry.networks.dc1.operations import Route

_END = "[DONE]"


class AsyncV1(AsyncResource):
    """Models that answer at once, without a job to wait for."""

    async def models(self, *, options: RequestOptions | None = None) -> models.OpenAIModels:
        """The models that can be asked; needs no key (section 3.8).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.V1_MODELS, options=options)

    async def chat(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        options: RequestOptions | None = None,
        **wishes: Unpack[ChatInput],
    ) -> Completion:
        """A model's answer to what was said (section 3.8).

        Args:
            model: which one.
            messages: each with `role` and `content`.
            options: for this call; the server takes up to 300 s.
            wishes: see `ChatInput`.

        Raises:
            DC1PaymentRequiredError: the wallet does not cover it.
            DC1NoCapacityError: nobody can answer now.
            DC1Error: anything else went wrong.
        """
        body = {"model": model, "messages": messages, **wishes}
        return await self._send(operations.V1_CHAT, body=body, options=options)

    async def complete(
        self,
        model: str,
        *,
        prompt: str | None = None,
        messages: Sequence[Mapping[str, Any]] | None = None,
        options: RequestOptions | None = None,
        **wishes: Unpack[ChatInput],
    ) -> Completion:
        """A model's answer to a prompt; deployed servers want messages here as well (section 3.8).

        Args:
            model: which one.
            prompt: what is asked.
            messages: what was said, each with `role` and `content`.
            options: for this call; the server takes up to 300 s.
            wishes: see `ChatInput`.

        Raises:
            DC1PaymentRequiredError: the wallet does not cover it.
            DC1NoCapacityError: nobody can answer now.
            DC1Error: anything else went wrong.
        """
        body = _asked(model, prompt, messages, wishes)
        return await self._send(operations.V1_COMPLETE, body=body, options=options)

    async def stream_chat(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        options: RequestOptions | None = None,
        **wishes: Unpack[ChatInput],
    ) -> AsyncGenerator[Completion]:
        """A model's answer to what was said, piece by piece as `delta` (section 3.8).

        Args:
            model: which one.
            messages: each with `role` and `content`.
            options: for this call; a deadline ends the stream.
            wishes: see `ChatInput`.

        Raises:
            DC1Error: the service refused, or an error came instead of a piece.
        """
        body = {"model": model, "messages": messages, "stream": True, **wishes}
        pieces = self._pieces(operations.V1_CHAT, body, options)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def stream_complete(
        self,
        model: str,
        *,
        prompt: str | None = None,
        messages: Sequence[Mapping[str, Any]] | None = None,
        options: RequestOptions | None = None,
        **wishes: Unpack[ChatInput],
    ) -> AsyncGenerator[Completion]:
        """A model's answer to a prompt, piece by piece as `delta` (section 3.8).

        Args:
            model: which one.
            prompt: what is asked.
            messages: what was said, each with `role` and `content`.
            options: for this call; a deadline ends the stream.
            wishes: see `ChatInput`.

        Raises:
            DC1Error: the service refused, or an error came instead of a piece.
        """
        pieces = self._pieces(operations.V1_STREAM, _asked(model, prompt, messages, wishes), options)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def _pieces(
        self, route: Route[Any], body: Mapping[str, Any], options: RequestOptions | None
    ) -> AsyncGenerator[Completion]:
        events = self._events(route, body=body, options=options)
        async with aclosing(events):
            async for event in events:
                if event.data.strip() == _END:
                    return
                # The status was sent before anything could go wrong, so errors come as pieces.
                problem = streamed_error(Response(200, body=event.data.encode()))
                if problem is not None:
                    problem.operation = route.operation.name
                    raise problem
                yield from_text(event.data, Completion)

    @cached_property
    def with_raw_response(self) -> AsyncRawV1:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawV1(self)


class AsyncRawV1:
    """The methods of `AsyncV1`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncV1) -> None:
        self.models = async_raw(resource.models)
        self.chat = async_raw(resource.chat)
        self.complete = async_raw(resource.complete)


def _asked(
    model: str, prompt: str | None, messages: Sequence[Mapping[str, Any]] | None, wishes: Mapping[str, Any]
) -> dict[str, Any]:
    said = {"prompt": prompt, "messages": messages}
    return {"model": model, **{name: value for name, value in said.items() if value is not None}, **wishes}
