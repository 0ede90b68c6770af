"""Every method of every resource: it can be called, and sends the operation that the table has for it."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest

from skerry.errors import SkerryError
from skerry.money import Money
from skerry.networks.dc1 import AsyncDC1
from skerry.networks.dc1.operations import ROUTES
from tests.io.script import AsyncScripted, Notes, answer

pytestmark = pytest.mark.anyio

# What an argument is by its name; everything else is a text.
_KNOWN: dict[str, Any] = {
    "amount": Money(5000, "SAR"),
    "amount_sar": 20,
    "amount_usd": 50,
    "checks": {"cuda": True},
    "duration_minutes": 5,
    "events": ["job.completed"],
    "ids": [1],
    "lines": [{"message": "x"}],
    "messages": [{"role": "user", "content": "x"}],
    "noun": "providers",
    "params": {"prompt": "x"},
    "payout_details": {},
    "port": 8100,
    "provider_id": 3,
    "renter_id": 1,
    "resource_spec": {"cpu_cores": 1},
    "view": "cards",
}


def _arguments(method: Any) -> tuple[list[Any], dict[str, Any]]:
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for name, parameter in inspect.signature(method).parameters.items():
        if parameter.default is not parameter.empty or parameter.kind is parameter.VAR_KEYWORD:
            continue
        value = _KNOWN.get(name, f"{name} 1")
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[name] = value
        else:
            positional.append(value)
    return positional, named


def _methods(client: AsyncDC1) -> list[tuple[str, Any]]:
    resources = {name: value for name, value in vars(client).items() if not name.startswith("_")}
    return [
        (f"{place}.{name}", getattr(resource, name))
        for place, resource in resources.items()
        for name in dir(type(resource))
        if not name.startswith("_") and inspect.isfunction(getattr(type(resource), name))
    ]


async def _settled(value: Any) -> None:
    if isinstance(value, AsyncIterator):
        await anext(value, None)
    elif inspect.isawaitable(value):
        _ = await value


async def test_every_method_sends_an_operation_and_every_operation_has_a_method() -> None:
    # An answer that ends every wait and every stream, and is some object to everything else.
    done = {"status": "completed", "job_id": "j", "type": "end", "id": 1, "result": "x"}
    notes, seen, called = Notes(), set[str](), 0
    transport = AsyncScripted(answer(200, done))
    client = AsyncDC1(
        "r",
        "https://api.test",
        provider_key="p",
        admin_token="a",
        transport=transport,
        effects=notes.effects,
        sleeper=notes.async_sleep,
        environ={},
    )
    for name, method in _methods(client):
        positional, named = _arguments(method)
        before = len(transport.sent)
        try:
            await _settled(method(*positional, **named))
        except SkerryError:
            # What is made of such an answer is not the question here.
            pass
        new = transport.sent[before:]
        assert new, f"{name} sent nothing"
        for request in new:
            operation = ROUTES[request.operation].operation
            assert request.method == operation.method, name
            assert "{" not in request.url, name
        seen |= {request.operation for request in new}
        called += 1
    await client.me()
    seen.add(transport.sent[-1].operation)
    assert called > 150
    assert seen == set(ROUTES)
