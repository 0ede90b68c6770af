"""What only coroutines can do: be awaited as hooks, and be cancelled."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from skerry.errors import ConfigurationError
from skerry.networks.octaspace import AsyncOctaSpace, OctaSpace, RequestContext, ResponseContext
from tests.io.script import AsyncScripted, Scripted, answer
from tests.networks.octaspace.server import PlainServer


@pytest.mark.anyio
async def test_hooks_may_be_coroutines() -> None:
    seen: list[object] = []

    async def before(context: RequestContext) -> None:
        await asyncio.sleep(0)
        context.headers["x-trace"] = "1"
        seen.append(context)

    async def after(context: ResponseContext) -> None:
        await asyncio.sleep(0)
        seen.append(context.request)

    transport = AsyncScripted(answer(200, {"balance": 1}))
    client = AsyncOctaSpace("k", transport=transport, on_request=before, on_response=after)
    await client.accounts.balance()
    assert transport.sent[0].header("x-trace") == "1"
    assert len(seen) == 2
    assert seen[0] is seen[1]
    plain = OctaSpace("k", transport=Scripted(answer(200, {})), on_request=before)
    with pytest.raises(ConfigurationError, match="must be a plain function"):
        plain.accounts.balance()


@pytest.mark.anyio
async def test_cancelling_a_task_ends_the_call_and_leaves_no_file(plain_server: PlainServer, tmp_path: Path) -> None:
    async with AsyncOctaSpace("k", plain_server.url) as client:
        task = asyncio.create_task(client.services.session("stall").info(timeout=None))
        while not plain_server.asked:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        async def stop(context: ResponseContext) -> None:
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await client.with_options(on_response=stop).nodes.save_logs(1, tmp_path / "logs")
    assert list(tmp_path.iterdir()) == []
