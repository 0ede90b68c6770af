"""Every resource and method; sessions and the waiting for them."""

from __future__ import annotations

import base64
import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from skerry._kernel.options import Deadline, RequestOptions
from skerry._kernel.request import Response
from skerry.errors import (
    BusyError,
    ConflictError,
    DeadlineExceededError,
    InvalidRequestError,
    NotFoundError,
    PaymentRequiredError,
)
from skerry.money import Money
from skerry.networks.octaspace import (
    AsyncOctaSpace,
    Download,
    OctaAbortedError,
    OctaDecodeError,
    OctaNotFoundError,
    OctaProvisionRejectedError,
    OctaSessionEndedError,
    ServiceInfo,
)
from skerry.networks.octaspace.operations import OPERATIONS
from tests.io.script import AsyncScripted, Notes, Step, answer

pytestmark = pytest.mark.anyio

BASE = "https://api.test"
KEY = "k" * 64
U = "5dd2d308-db91-4bda-86ff-e512d711b363"
LOGS = base64.b64encode(gzip.compress(b"hello")).decode()


def _client(*steps: Step) -> tuple[AsyncOctaSpace, AsyncScripted, Notes]:
    transport, notes = AsyncScripted(*steps), Notes()
    client = AsyncOctaSpace(KEY, BASE, transport=transport, effects=notes.effects, sleeper=notes.async_sleep)
    return client, transport, notes


ITEM = '"id":0,"node_id":7,"disk_size":10,"image":"x","app":"","envs":{},"ports":[],"http_ports":[],"start_command":""'
CALLS: list[tuple[str, list[Any], dict[str, Any], str, str, str | None, Any]] = [
    ("accounts.get", [], {}, "GET", "/accounts", None, {}),
    ("accounts.balance", [], {}, "GET", "/accounts/balance", None, {}),
    ("accounts.generate_wallet", [], {}, "POST", "/accounts", None, {}),
    ("network.get", [], {}, "GET", "/network", None, {}),
    ("apps.list", [], {}, "GET", "/apps", None, []),
    ("nodes.list", [], {}, "GET", "/nodes", None, []),
    ("nodes.get", [42], {}, "GET", "/nodes/42", None, {}),
    ("nodes.download_ident", [42], {}, "GET", "/nodes/42/ident", None, {}),
    ("nodes.download_logs", ["42"], {}, "GET", "/nodes/42/logs", None, {}),
    ("nodes.update_prices", [42], {"traffic": 2, "base": 10**20}, "PATCH", "/nodes/42/prices", "", None),
    ("nodes.reboot", [42], {}, "GET", "/nodes/42/reboot", None, {}),
    ("services.mr.available", [], {}, "GET", "/services/mr", None, []),
    ("services.mr.start", [7], {"disk_size": 10, "image": "x"}, "POST", "/services/mr", "", [{"uuid": U}]),
    ("services.render.available", [], {}, "GET", "/services/render", None, []),
    ("services.render.start", [7], {"disk_size": 1}, "POST", "/services/render", "", {"uuid": U}),
    ("services.vpn.available", [], {}, "GET", "/services/vpn", None, []),
    ("services.vpn.start", ["7"], {}, "POST", "/services/vpn", "", {"uuid": U}),
    ("services.session.info", [U], {}, "GET", f"/services/{U}/info", None, {}),
    ("services.session.logs", [U], {}, "GET", f"/services/{U}/logs", None, {}),
    ("services.session.stop", [U], {}, "POST", f"/services/{U}/stop", None, {}),
    ("sessions.list", [], {}, "GET", "/sessions", None, []),
    ("idle_jobs.get", [69, 42], {}, "GET", "/idle_jobs/69/42", None, {}),
    ("idle_jobs.logs", ["a b", 42], {}, "GET", "/idle_jobs/a%20b/42/logs", None, {"data": LOGS}),
]
BODIES = {
    "nodes.update_prices": '{"base":100000000000000000000,"traffic":2}',
    "services.mr.start": "[{" + ITEM + ',"entrypoint":""}]',
    "services.render.start": '{"node_id":7,"disk_size":1}',
    "services.vpn.start": '{"node_id":"7"}',
}


def _method(client: Any, name: str, arguments: list[Any]) -> tuple[Any, list[Any]]:
    if name.startswith("services.session."):
        return getattr(client.services.session(arguments[0]), name.rpartition(".")[2]), arguments[1:]
    for part in name.split("."):
        client = getattr(client, part)
    return client, arguments


@pytest.mark.parametrize(("name", "arguments", "keywords", "verb", "path", "body", "said"), CALLS)
async def test_each_call(
    name: str, arguments: list[Any], keywords: dict[str, Any], verb: str, path: str, body: str | None, said: Any
) -> None:
    client, transport, _ = _client(answer(200, said))
    method, rest = _method(client, name, arguments)
    await method(*rest, **keywords)
    request = transport.sent[0]
    assert (request.method, request.url, request.operation) == (verb, BASE + path, name)
    assert request.body == (None if body is None else BODIES[name].encode())
    method, rest = _method(client.with_raw_response, name, arguments)
    raw = await method(*rest, **keywords, timeout=7, options=RequestOptions(timeout=9, headers={"x-a": "1"}))
    assert raw.status == 200
    assert (transport.sent[1].timeout, transport.sent[1].header("x-a")) == (7, "1")


async def test_every_operation_has_its_method() -> None:
    assert {name for name, *_ in CALLS} == set(OPERATIONS)


async def test_all_members_of_a_start() -> None:
    client, transport, _ = _client(answer(201, [{"uuid": U, "id": 0}]))
    session = await client.services.mr.start(
        7,
        disk_size=50,
        image="ubuntu:22.04",
        app="a",
        envs={"A": "b"},
        ports=(22, 3000),
        http_ports=[8080],
        start_command="s",
        entrypoint="e",
        extra={"project_id": 3},
    )
    assert (session.uuid, session.answer.extra if session.answer else None) == (U, {"id": 0})
    assert U in repr(session)
    assert transport.sent[0].body == (
        b'[{"id":0,"node_id":7,"disk_size":50,"image":"ubuntu:22.04","app":"a","envs":{"A":"b"},"ports":[22,3000],'
        b'"http_ports":[8080],"start_command":"s","entrypoint":"e","project_id":3}]'
    )
    await client.services.mr.start(7, disk_size=50, app="a")
    assert transport.sent[1].body == (
        b'[{"id":0,"node_id":7,"disk_size":50,"app":"a","envs":{},"ports":[],"http_ports":[],"start_command":"",'
        b'"entrypoint":""}]'
    )
    client, transport, _ = _client(answer(201, {"uuid": U}))
    await client.services.render.start(3, disk_size=2, multi_gpu_worker=False, envs={}, extra={"x": None})
    await client.services.vpn.start(3, subkind="v2ray", protocol="vless", extra={"y": 1})
    assert [request.body for request in transport.sent] == [
        b'{"node_id":3,"disk_size":2,"multi-gpu-worker":false,"envs":{},"x":null}',
        b'{"node_id":3,"subkind":"v2ray","protocol":"vless","y":1}',
    ]


async def test_prices() -> None:
    client, transport, _ = _client(answer(200, {}))
    await client.nodes.update_prices(1, base=Money.of("0.05", "OCTA"), storage=0)
    assert transport.sent[0].body == b'{"base":50000000000000000,"storage":0}'
    for wrong in ({}, {"base": 0.5}, {"base": 5e16}, {"base": True}, {"base": "5"}, {"base": Money(1, "USD")}):
        with pytest.raises(InvalidRequestError):
            await client.nodes.update_prices(1, **wrong)  # type: ignore[arg-type]
    await client.nodes.update_prices(1, traffic=1, extra={"currency_usd": True})
    assert [request.body for request in transport.sent[1:]] == [b'{"traffic":1,"currency_usd":true}']


async def test_amounts_are_exact() -> None:
    client, _, _ = _client(
        Response(200, (), b'{"balance":31428028938060847852,"uid":1}'),
        Response(200, (), b'{"balance":"31428028938060847853"}'),
        Response(200, (), b'[{"total_price_wei":5096153846153846153,"total_price_usd":0.53,"base_usd":3400}]'),
        Response(200, (), b'[{"traffic_price_usd":0.005366743801677206,"traffic_price_ether":0.05,"node_id":1}]'),
    )
    account = await client.accounts.get()
    assert account.funds == Money(31428028938060847852, "OCTA")
    assert (await client.accounts.balance()).funds == Money(31428028938060847853, "OCTA")
    machine = (await client.services.mr.available())[0]
    assert str(machine.total_price) == "5.096153846153846153 OCTA"
    assert str(machine.total_price_in_usd) == "0.530000 USD"
    assert str(machine.base_price_in_usd) == "0.340000 USD"
    relay = (await client.services.vpn.available())[0]
    assert str(relay.traffic_price_usd) == "0.005366743801677206"
    assert relay.traffic_price == Money(5 * 10**16, "OCTA")
    assert str(relay.traffic_price_in_usd) == "0.005367 USD"


async def test_files() -> None:
    client, _, _ = _client(Response(200, (("content-type", "application/octet-stream"),), b"\x83P"), Response(200))
    ident = await client.nodes.download_ident(42)
    assert isinstance(ident, Download)
    assert (ident, ident.content_type) == (b"\x83P", "application/octet-stream")
    empty = await client.nodes.download_logs(42)
    assert (empty, empty.content_type) == (b"", None)


async def test_a_refused_file_leaves_nothing(tmp_path: Path) -> None:
    client, transport, _ = _client(answer(503, {"message": "later"}), answer(404, {"message": "Node not found"}))
    with pytest.raises(OctaNotFoundError, match="Node not found"):
        await client.nodes.save_ident(42, tmp_path / "node.ident")
    assert len(transport.sent) == 2
    assert list(tmp_path.iterdir()) == []


async def test_why_a_machine_was_not_rented() -> None:
    for reason, meaning in (
        ("Node not found", NotFoundError),
        ("Node is busy", BusyError),
        ("Insufficient balance", PaymentRequiredError),
        ("The moon is full", OctaProvisionRejectedError),
    ):
        items = [{"id": 0, "reason": reason, "status": 1}]
        client, transport, _ = _client(answer(200, items, x_request_id="r"))
        with pytest.raises(OctaProvisionRejectedError, match=f"Provision request rejected: {reason}") as caught:
            await client.services.mr.start(1, disk_size=1, image="x")
        assert isinstance(caught.value, meaning)
        assert (caught.value.rejections, caught.value.outcome, caught.value.request_id) == (items, "rejected", "r")
        assert len(transport.sent) == 1
    for said in ([], {"uuid": U}, None, [None], [{"uuid": ""}], [{"id": 0}, {"uuid": U}]):
        client, _, _ = _client(answer(200, said))
        with pytest.raises(OctaProvisionRejectedError, match="Deploy response contained no session UUID") as lost:
            await client.services.mr.start(1, disk_size=1, image="x")
        assert lost.value.outcome == "unknown"


async def test_a_session_without_an_id_cannot_be_asked() -> None:
    client, transport, _ = _client(answer(201, {}))
    session = await client.services.render.start(1, disk_size=1)
    assert session.uuid == ""
    with pytest.raises(InvalidRequestError, match="uuid must not be empty"):
        await session.info()
    client, _, _ = _client(answer(204))
    assert (await client.services.vpn.start(1)).uuid == ""
    assert len(transport.sent) == 1


async def test_queries() -> None:
    client, transport, _ = _client(answer(200, []))
    await client.sessions.list(recent=True)
    await client.sessions.list(recent=False)
    await client.sessions.list(recent=None)
    await client.services.session(U).logs(recent=True)
    assert [request.url.partition("/")[2].rpartition("/")[2] for request in transport.sent] == [
        "sessions?recent=true",
        "sessions?recent=false",
        "sessions",
        "logs?recent=true",
    ]


async def test_stopping() -> None:
    client, transport, _ = _client(answer(200, {}), answer(204), answer(404, {"message": "gone"}))
    session = client.services.session(U)
    await session.stop()
    await session.stop(0)
    with pytest.raises(OctaNotFoundError, match="gone"):
        await session.stop()
    assert [request.body for request in transport.sent] == [None, b'{"score":0}', None]


def _info(progress: str | None = None, *, ready: bool | None = None, **more: Any) -> Response:
    known = {"uuid": U, "progress": progress, "is_ready": ready}
    return answer(200, {name: value for name, value in known.items() if value is not None} | more)


async def test_waiting_until_it_is_ready() -> None:
    steps = (
        _info("pulling image", ready=False),
        _info("pulling image", ready=False),
        _info("starting container", ready=False),
        _info("service configured", ready=True, config="c"),
    )
    client, _, notes = _client(*steps)
    seen: list[str | None] = []
    found = await client.services.session(U).wait_ready(on_change=lambda info: seen.append(info.progress))
    assert (found.config, seen) == ("c", ["pulling image", "starting container", "service configured"])
    assert notes.slept == [2.0, 2.0, 2.0]
    client, transport, notes = _client(_info("creating container"), _info("Running"))
    assert (await client.services.session(U).wait_ready(poll=0.5)).ready
    assert (notes.slept, len(transport.sent)) == ([0.5], 2)
    # A word of readiness is none where `is_ready` says otherwise.
    client, _, _ = _client(_info("ready", ready=False), _info("ready", ready=True))
    assert (await client.services.session(U).wait_ready()).is_ready


async def test_waiting_for_what_has_ended() -> None:
    ended = {"uuid": U, "termination_reason": "3", "finished_at": 1776161893995, "charge_amount": "12"}
    recent = answer(200, [{"uuid": "other", "termination_reason": 4}, {"uuid": U, "is_ready": True}, ended])
    steps = (_info("pulling image", ready=False), answer(404, {"message": "not found"}), recent)
    client, transport, _ = _client(*steps)
    with pytest.raises(OctaSessionEndedError, match=f"session {U} ended before it was ready: balance exhausted") as c:
        await client.services.session(U).wait_ready()
    assert isinstance(c.value, ConflictError)
    assert c.value.session is not None
    assert c.value.session.charge == Money(12, "OCTA")
    assert transport.sent[-1].url == f"{BASE}/sessions?recent=true"
    client, _, _ = _client(_info("service configured", ready=True, finished_at=5))
    with pytest.raises(OctaSessionEndedError, match="no reason given"):
        await client.services.session(U).wait_ready()
    client, _, _ = _client(answer(404, {"message": "not found"}), answer(200, []))
    with pytest.raises(OctaNotFoundError, match="not found"):
        await client.services.session(U).wait_ready()


async def test_waiting_until_it_has_ended() -> None:
    ended = {"uuid": U, "termination_reason": 0, "finished_at": 1776161893995, "duration": "28"}
    client, _, notes = _client(_info(ready=True), answer(404, {}), answer(200, [ended]))
    found = await client.services.session(U).wait_finished()
    assert (found.seconds, found.termination, notes.slept) == (28, "ended normally", [2.0])
    assert found.ended == datetime(2026, 4, 14, 10, 18, 13, 995000, tzinfo=UTC)
    client, _, _ = _client(_info(termination_reason=9))
    assert (await client.services.session(U).wait_finished()).termination == "termination reason 9"
    client, _, _ = _client(answer(404, {}), answer(200, [{"uuid": U}]))
    with pytest.raises(OctaNotFoundError):
        await client.services.session(U).wait_finished()


async def test_waiting_ends_with_the_time() -> None:
    client, transport, notes = _client(_info("pulling image", ready=False))
    for wait in ("wait_ready", "wait_finished"):
        with pytest.raises(OctaAbortedError, match="deadline has passed"):
            await getattr(client.services.session(U), wait)(timeout=3)
        cancel = Deadline(60)
        cancel.cancel()
        with pytest.raises(DeadlineExceededError, match="Request was aborted"):
            await getattr(client.services.session(U), wait)(timeout=5, options=RequestOptions(deadline=cancel))
    assert (len(transport.sent), notes.slept) == (4, [2.0, 2.0])


async def test_what_is_no_log() -> None:
    for said in ({"data": "aGVsbG8="}, {"data": "%"}, {"data": LOGS[:-12]}, {"data": 5}, {}, None, []):
        client, transport, _ = _client(answer(200, said))
        with pytest.raises(OctaDecodeError) as caught:
            await client.idle_jobs.logs(1, 2)
        assert caught.value.operation == "idle_jobs.logs"
        assert len(transport.sent) == 1


async def test_unknown_fields_are_kept() -> None:
    client, _, _ = _client(answer(200, {"uuid": U, "brand_new": {"a": [1]}, "duration": "28"}))
    info = await client.services.session(U).info()
    assert isinstance(info, ServiceInfo)
    assert info.extra == {"brand_new": {"a": [1]}}
    assert info.to_dict()["duration"] == "28"
