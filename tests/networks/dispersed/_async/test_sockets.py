"""What is signed is what arrives: over real sockets, judged by a verifier."""

from __future__ import annotations

import pytest

from skerry.networks.dispersed import AsyncDispersed
from tests.io.script import Notes
from tests.networks.dispersed.server import PUBLIC_KEY, SECRET_KEY, SignedServer

pytestmark = pytest.mark.anyio

ODD = ["a/b", "café noir", "x?y#z", "..", ".", "%2F", "~!*'()", "a+b&c=d", "🚀", "a;b:c@d", "\\ |"]


def _client(server: SignedServer, prefix: str = "") -> AsyncDispersed:
    return AsyncDispersed(PUBLIC_KEY, SECRET_KEY, server.url + prefix, environ={}, retry=0)


@pytest.mark.parametrize("uuid", ODD)
async def test_odd_ids_arrive_as_one_segment(signed_server: SignedServer, uuid: str) -> None:
    async with _client(signed_server) as client:
        job = await client.jobs.get(uuid)
    target = signed_server.targets[0]
    assert job.extra["target"] == target
    assert target.count("/") == 3
    assert "?" not in target


async def test_queries_and_bodies_arrive_as_signed(signed_server: SignedServer) -> None:
    async with _client(signed_server, "/some%20path/~x") as client:
        parameters = [("b", "!*'()"), ("a", "1 2+3"), ("b", "~"), ("[é]", 1.0), ("none", None)]
        got = await client.request("GET", "/v1/x", parameters)
        assert got["target"] == "/some%20path/~x/v1/x?%5B%C3%A9%5D=1&a=1%202%2B3&b=%21%2A%27%28%29&b=~"
        for body, text in (({"z": 1.0, "a": "é"}, '{"a":"é","z":1}'), (None, "null"), ({}, "{}"), ([], "[]")):
            for method in ("POST", "PUT", "PATCH"):
                assert (await client.request(method, "/v1/x", body=body))["body"] == text
        assert (await client.request("POST", "/v1/x"))["body"] == ""
        assert (await client.request("DELETE", "/v1/x"))["body"] == ""
    assert "content-type" not in signed_server.headers[-1]
    assert signed_server.headers[1]["content-type"] == "application/json"
    assert signed_server.headers[-1]["accept"] == "application/json"
    assert signed_server.headers[-1]["user-agent"].startswith("skerry/")


async def test_each_try_passes_by_itself(signed_server: SignedServer) -> None:
    signed_server.failures = [503, 500]
    keys = (PUBLIC_KEY, SECRET_KEY, signed_server.url)
    async with AsyncDispersed(*keys, environ={}, retry=2, sleeper=Notes().async_sleep) as client:
        found = await client.jobs.create({"title": "x"})
    assert found.extra["body"] == '{"title":"x"}'
    assert len(signed_server.nonces) == 3
