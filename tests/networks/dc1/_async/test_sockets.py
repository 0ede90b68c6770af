"""Over real sockets: what the transport makes of it."""

from __future__ import annotations

import pytest

from skerry.networks.dc1 import AsyncDC1, DC1ConnectionError, DC1TimeoutError, RequestOptions
from tests.networks.dc1.server import Marketplace

pytestmark = pytest.mark.anyio

ODD = ["a/b", "café noir", "x?y#z", "..", ".", "%2F", "a+b&c=d", "🚀"]


async def test_a_job_from_end_to_end(marketplace: Marketplace) -> None:
    async with AsyncDC1("dc1-renter-1", marketplace.url, environ={}) as client:
        provider = next(each for each in await client.list_providers(min_vram_gb=16) if each.is_live)
        job = await client.submit_job(provider.id, "llm_inference", {"prompt": "if a < b and c > d:\n"}, 2)
        output = await client.jobs.wait(job.id, poll_interval=0.01)
        assert output.text == "if a < b and c > d:\n"
        lines = [line.message async for line in client.jobs.stream_logs(job.id)]
    assert lines == ["one", "zwei", "ثلاثة"]
    assert {seen["x-renter-key"] for seen in marketplace.headers} == {"dc1-renter-1"}
    assert {seen["user-agent"] for seen in marketplace.headers} == {"dc1-python/0.1.0"}
    assert {seen["content-type"] for seen in marketplace.headers} == {"application/json"}


@pytest.mark.parametrize("job_id", ODD)
async def test_odd_ids_arrive_as_one_segment(marketplace: Marketplace, job_id: str) -> None:
    async with AsyncDC1("k", marketplace.url, environ={}) as client:
        await client.get_job(job_id)
    target = marketplace.targets[0]
    assert target.count("/") == 4
    assert "?" not in target


async def test_nobody_there_and_nothing_said(marketplace: Marketplace) -> None:
    async with AsyncDC1("k", "http://127.0.0.1:1", environ={}) as client:
        with pytest.raises(DC1ConnectionError, match="Connection error: ") as caught:
            await client.get_balance()
        assert (caught.value.status_code, caught.value.outcome) == (0, "not_sent")
    async with AsyncDC1("k", marketplace.url, environ={}) as client:
        # What is late is the answer, not the connection, which is there by now.
        await client.get_balance()
        options = RequestOptions(timeout=0.05)
        with pytest.raises(DC1TimeoutError, match="timed out"):
            await client.request("GET", "/silent", options=options)
