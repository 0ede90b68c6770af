"""Every recorded case of Dispersed: signing against both clients and the parts, verifying against the parts."""

from __future__ import annotations

import pytest

from skerry.networks.dispersed import AsyncDispersed, Dispersed
from skerry.networks.dispersed.canonical import canonical_json, canonical_query
from skerry.networks.dispersed.signing import body_hash, canonical_string, signature
from tests.io.script import AsyncScripted, Scripted
from tests.vectors.cases import find
from tests.vectors.dispersed_cases import BASE, SignedCase, answer_to, check_sent, effects_of, invoke, load, verdict

_KIND = {"test_verdict": "verify"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    files = find("dispersed", metafunc.config.getoption("--vectors"))
    kind = _KIND.get(metafunc.function.__name__, "sign")
    cases = [case for file in files for case in load(file) if case.kind == kind]
    metafunc.parametrize("case", cases, ids=[case.name for case in cases])
    assert len({case.name for case in cases}) == len(cases) or len(files) > 1, "case names must be unique"


@pytest.mark.anyio
async def test_async(case: SignedCase) -> None:
    transport = AsyncScripted(answer_to)
    async with AsyncDispersed(
        case.inputs["public_key"],
        case.inputs["secret_key"],
        BASE,
        transport=transport,
        effects=effects_of(case),
        environ={},
    ) as client:
        await invoke(client, case)
    check_sent(case, transport.sent)


def test_sync(case: SignedCase) -> None:
    transport = Scripted(answer_to)
    with Dispersed(
        case.inputs["public_key"],
        case.inputs["secret_key"],
        BASE,
        transport=transport,
        effects=effects_of(case),
        environ={},
    ) as client:
        invoke(client, case)
    check_sent(case, transport.sent)


def test_parts(case: SignedCase) -> None:
    inputs, expected = case.inputs, case.content
    query = canonical_query(None if inputs["query"] is None else [(name, value) for name, value in inputs["query"]])
    assert query == expected["canonical_query"]
    body = canonical_json(inputs["body"]) if inputs["has_body"] else None
    assert body == (None if expected["canonical_body"] is None else expected["canonical_body"].encode())
    assert body_hash(body) == expected["body_sha256"]
    text = canonical_string(
        inputs["public_key"],
        str(inputs["timestamp_ms"]),
        inputs["nonce"],
        inputs["method"],
        inputs["path"],
        query,
        body_hash(body),
    )
    assert text == expected["canonical_string"]
    assert signature(inputs["secret_key"], text) == expected["signature"]


def test_verdict(case: SignedCase) -> None:
    code = verdict(case)
    expected = case.content["expect"]
    assert (code is None) == expected["accept"]
    assert code == expected["code"]
    assert expected["status"] == (None if code is None else 401)
