"""Every resource and method, and the lists' pages."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from skerry._kernel.options import Deadline, RequestOptions
from skerry._kernel.request import Request, Response
from skerry.errors import DeadlineExceededError
from skerry.networks.dispersed import AsyncDispersed, Job
from skerry.networks.dispersed.operations import OPERATIONS
from tests.io.script import AsyncScripted, Notes, Step, answer

pytestmark = pytest.mark.anyio

BASE = "https://api.test"
U = "019582a6-27fc-731d-af0a-594f04d6d0d5"


def _client(*steps: Step) -> tuple[AsyncDispersed, AsyncScripted, Notes]:
    transport, notes = AsyncScripted(*steps), Notes()
    client = AsyncDispersed(
        "pk_1", "sk_1", BASE, transport=transport, effects=notes.effects, sleeper=notes.async_sleep, environ={}
    )
    return client, transport, notes


CALLS: list[tuple[str, list[Any], str, str, str | None]] = [
    ("accounts.get_me", [], "GET", "/v1/accounts/me", None),
    ("accounts.get_balance", [U], "GET", f"/v1/accounts/{U}/balance", None),
    ("accounts.get_spend_summary", [U], "GET", f"/v1/accounts/{U}/spend-summary", None),
    ("accounts.get_consumer_summary", [U], "GET", f"/v1/accounts/{U}/consumer-summary", None),
    ("jobs.list", [], "GET", "/v1/jobs", None),
    ("jobs.get", [U], "GET", f"/v1/jobs/{U}", None),
    ("jobs.create", [{"title": "x"}], "POST", "/v1/jobs", '{"title":"x"}'),
    ("jobs.cancel", [U], "PUT", f"/v1/jobs/{U}/cancel", None),
    ("jobs.cancel", [U, {"reason": "r"}], "PUT", f"/v1/jobs/{U}/cancel", '{"reason":"r"}'),
    ("job_runs.list", [], "GET", "/v1/job-runs", None),
    ("job_runs.get", [U], "GET", f"/v1/job-runs/{U}", None),
    ("job_runs.cancel", [U], "PUT", f"/v1/job-runs/{U}/cancel", None),
    ("job_runs.get_cost_summary", [U], "GET", f"/v1/job-runs/{U}/cost-summary", None),
    ("job_recipes.list", [], "GET", "/v1/job-recipes", None),
    ("job_recipes.get", [U], "GET", f"/v1/job-recipes/{U}", None),
    ("job_recipes.create", [{"name": "n"}], "POST", "/v1/job-recipes", '{"name":"n"}'),
    ("job_recipes.update", [U, {"name": "n"}], "PATCH", f"/v1/job-recipes/{U}", '{"name":"n"}'),
    ("job_recipes.delete", [U], "DELETE", f"/v1/job-recipes/{U}", None),
    ("job_recipes.fork", [U], "POST", f"/v1/job-recipes/{U}/fork", None),
    ("job_recipes.cook", [U], "POST", f"/v1/job-recipes/{U}/cook", None),
    ("job_recipes.cook", [U, {}], "POST", f"/v1/job-recipes/{U}/cook", "{}"),
    ("job_recipes.create_from_job", [U], "POST", f"/v1/job-recipes/from-job/{U}", None),
    ("gpu_registry.list", [], "GET", "/v1/gpu-registry", None),
    ("compute.rewards", [], "GET", "/v1/compute/rewards", None),
    ("compute.ledger_authorizations", [], "GET", "/v1/compute/ledger/authorizations", None),
    ("compute.ledger_transactions", [], "GET", "/v1/compute/ledger/transactions", None),
    ("api_keys.list", [], "GET", "/v1/api-keys", None),
    ("api_keys.create", [{"name": "n"}], "POST", "/v1/api-keys", '{"name":"n"}'),
    ("api_keys.revoke", [U], "PUT", f"/v1/api-keys/{U}/revoke", None),
    ("ssh_public_keys.list", [], "GET", "/v1/ssh-public-keys", None),
    ("ssh_public_keys.create", [{"public_key": "k"}], "POST", "/v1/ssh-public-keys", '{"public_key":"k"}'),
    ("ssh_public_keys.update", [U, {"name": None}], "PATCH", f"/v1/ssh-public-keys/{U}", '{"name":null}'),
    ("ssh_public_keys.delete", [U], "DELETE", f"/v1/ssh-public-keys/{U}", None),
]


@pytest.mark.parametrize(("name", "arguments", "method", "path", "body"), CALLS)
async def test_each_call(name: str, arguments: list[Any], method: str, path: str, body: str | None) -> None:
    client, transport, _ = _client(answer(200, {"object": "o", "data": [], "page": 1, "limit": 20, "total": 0}))
    section, _, verb = name.partition(".")
    result = await getattr(getattr(client, section), verb)(*arguments)
    request = transport.sent[0]
    assert (request.method, request.url, request.operation) == (method, BASE + path, name)
    assert request.body == (None if body is None else body.encode())
    assert (result is None) == name.endswith(".delete")
    raw = await getattr(getattr(client.with_raw_response, section), verb)(*arguments, timeout=7)
    assert raw.status == 200
    assert transport.sent[1].timeout == 7


async def test_every_operation_has_its_method() -> None:
    assert {name for name, *_ in CALLS} == set(OPERATIONS)


def _pages(total: int, limit: int) -> Any:
    def page(request: Request) -> Response:
        number = int(request.url.rpartition("page=")[2]) if "page=" in request.url else 1
        data = [{"uuid": str(at)} for at in range((number - 1) * limit, min(total, number * limit))]
        return answer(200, {"data": data, "page": number, "limit": limit, "total": total})

    return page


async def test_iterating_asks_for_pages_as_they_are_reached() -> None:
    client, transport, _ = _client(_pages(5, 2))
    page = await client.jobs.list(limit=2, status=["RUNNING", "PENDING"], timeout=9, headers={"x-a": "1"})
    assert ([job.uuid for job in page.data], page.page, page.limit, page.total) == (["0", "1"], 1, 2, 5)
    assert repr(page) == f"{type(page).__name__}(page=1, 2 of 5)"
    seen: list[str | None] = []
    async for job in page:
        seen.append(job.uuid)
        assert len(transport.sent) == (len(seen) + 1) // 2
    assert seen == ["0", "1", "2", "3", "4"]
    tail = "filter%5Bstatus%5D=RUNNING%2CPENDING&limit=2"
    assert [request.url for request in transport.sent] == [
        f"{BASE}/v1/jobs?{tail}",
        f"{BASE}/v1/jobs?{tail}&page=2",
        f"{BASE}/v1/jobs?{tail}&page=3",
    ]
    assert {(request.timeout, request.header("x-a")) for request in transport.sent} == {(9, "1")}
    assert len({request.header("x-signature") for request in transport.sent}) == 3


async def test_pages_one_by_one() -> None:
    client, transport, _ = _client(_pages(4, 2))
    page = await client.gpu_registry.list({"page": 1})
    following = await page.next_page()
    assert following is not None
    assert (following.page, following.has_next, await following.next_page()) == (2, False, None)
    assert len(transport.sent) == 2
    assert following.raw["total"] == 4


async def test_a_page_from_the_middle_goes_on_from_there() -> None:
    client, _, _ = _client(_pages(5, 2))
    page = await client.job_runs.list(page=2)
    assert [run.uuid async for run in page] == ["2", "3", "4"]
    assert [run.uuid async for run in page] == ["2", "3", "4"]


@pytest.mark.parametrize("section", ["jobs", "job_runs", "job_recipes", "gpu_registry", "api_keys", "ssh_public_keys"])
async def test_every_one(section: str) -> None:
    client, transport, _ = _client(_pages(5, 2))
    seen = [item.uuid async for item in getattr(client, section).iter_all({"limit": 2}, retry=0)]
    assert seen == ["0", "1", "2", "3", "4"]
    assert len(transport.sent) == 3


async def test_an_end_that_moves_closer_ends_the_list() -> None:
    client, transport, _ = _client(
        answer(200, {"data": [{"uuid": "a"}], "page": 1, "limit": 1, "total": 9}),
        answer(200, {"data": [], "page": 2, "limit": 1, "total": 9}),
    )
    assert [job.uuid async for job in await client.jobs.list()] == ["a"]
    assert len(transport.sent) == 2


async def test_filters() -> None:
    client, transport, _ = _client(_pages(0, 20))
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    await client.compute.ledger_transactions(created_at=(begin, None), type="CAPTURE", sort="created_at")
    await client.compute.ledger_authorizations({"filter[status]": "OPEN"}, filter={"new": 1.0})
    await client.compute.rewards([("limit", 5), ("x", None)])
    await client.gpu_registry.list(only_available=True, min_vram_gb=(8, 16))
    assert [request.url.partition("?")[2] for request in transport.sent] == [
        "filter%5Bcreated_at%5D=2026-01-01T00%3A00%3A00.000Z%2C&filter%5Btype%5D=CAPTURE&sort=created_at",
        "filter%5Bnew%5D=1&filter%5Bstatus%5D=OPEN",
        "limit=5",
        "filter%5Bmin_vram_gb%5D=8%2C16&filter%5Bonly_available%5D=true",
    ]
    with pytest.raises(TypeError, match="unknown parameter 'vram'"):
        await client.gpu_registry.list(vram=8)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unknown option 'reason'"):
        await client.jobs.cancel(U, reason="x")  # type: ignore[call-arg]


async def test_waiting() -> None:
    states = [answer(200, {"uuid": U, "status": state}) for state in ("PENDING", "PENDING", "RUNNING", "COMPLETED")]
    client, transport, notes = _client(*states)
    seen: list[str | None] = []
    job = await client.jobs.wait(U, on_change=lambda job: seen.append(job.status))
    assert (job.status, seen) == ("COMPLETED", ["PENDING", "RUNNING", "COMPLETED"])
    assert notes.slept == [1.0, 1.25, 1.5625]
    client, transport, _ = _client(*states)
    run = await client.job_runs.wait(U, until="RUNNING")
    assert (run.status, len(transport.sent)) == ("RUNNING", 3)


async def test_waiting_ends_with_the_time() -> None:
    client, transport, notes = _client(answer(200, {"status": "NEVER_HEARD_OF"}))
    with pytest.raises(DeadlineExceededError):
        await client.jobs.wait(U, timeout=2)
    assert (len(transport.sent), notes.slept) == (2, [1.0])
    cancel = Deadline(60)
    cancel.cancel()
    with pytest.raises(DeadlineExceededError, match="cancelled"):
        await client.jobs.wait(U, timeout=5, options=RequestOptions(deadline=cancel))


async def test_unknown_fields_are_kept() -> None:
    client, _, _ = _client(answer(200, {"object": "job", "uuid": U, "brand_new": {"a": [1]}, "status": "NEW"}))
    job = await client.jobs.get(U)
    assert isinstance(job, Job)
    assert job.extra == {"brand_new": {"a": [1]}}
    assert job.to_dict()["status"] == "NEW"


async def test_a_new_key_pair_tells_its_secret_and_shows_it_nowhere() -> None:
    made = {"object": "api_key", "uuid": U, "name": "ci", "public_key": "pk_2", "secret_key": "sk_very_secret"}
    client, transport, _ = _client(answer(201, made))
    until = datetime(2027, 1, 1, tzinfo=UTC)
    key = await client.api_keys.create(
        {"name": "ci", "preset": "CONSUMER", "allowed_ips": ["127.0.0.1/32"], "expires_at": until}, idempotency_key="k"
    )
    assert (key.secret_key, key.public_key, key.uuid) == ("sk_very_secret", "pk_2", U)
    assert transport.sent[0].body == (
        b'{"allowed_ips":["127.0.0.1/32"],"expires_at":"2027-01-01T00:00:00.000Z","name":"ci","preset":"CONSUMER"}'
    )
    assert transport.sent[0].header("x-idempotency-key") == "k"
    console = Console(file=StringIO(), width=200)
    console.print(key)
    for shown in (repr(key), str(key), console.file.getvalue()):
        assert "pk_2" in shown
        assert "very_secret" not in shown
