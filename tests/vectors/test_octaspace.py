"""Every recorded case of OctaSpace, against both clients."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.networks.octaspace import AsyncOctaSpace, OctaApiError, OctaDecodeError, OctaNetworkError, OctaSpace
from tests.io.script import AsyncScripted, Scripted
from tests.vectors.cases import find
from tests.vectors.octaspace_cases import HEADERS, Expected, caught, check, check_request, expected
from tests.vectors.octaspace_records import OctaCase, body_of, invoke, load, requests_of, stubs_of
from tests.vectors.octaspace_stage import OctaStage


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    files = find("octaspace", metafunc.config.getoption("--vectors"))
    kind = "compat" if metafunc.function.__name__.endswith("_of_others") else "sdk"
    cases = [case for file in files for case in load(file, kind)]
    metafunc.parametrize("case", cases, ids=[case.name for case in cases])
    assert len({case.name for case in cases}) == len(cases) or len(files) > 1, "case names must be unique"


def _wanted(case: OctaCase) -> Expected:
    wanted = expected(case)
    if isinstance(wanted, str):
        pytest.skip(wanted)
    return wanted


@pytest.mark.anyio
async def test_async(case: OctaCase) -> None:
    wanted, stage = _wanted(case), OctaStage(case)
    result: Any = None
    with caught() as errors:
        async with AsyncOctaSpace(
            transport=AsyncScripted(stage.answer),
            effects=stage.effects,
            sleeper=stage.async_sleep,
            **case.options,
            **stage.hooks(case),
        ) as client:
            result = await invoke(client, case, stage.deadline)
    check(case, wanted, stage, result, errors[0] if errors else None)


def test_sync(case: OctaCase) -> None:
    wanted, stage = _wanted(case), OctaStage(case)
    result: Any = None
    with (
        caught() as errors,
        OctaSpace(
            transport=Scripted(stage.answer),
            effects=stage.effects,
            sleeper=stage.sleep,
            **case.options,
            **stage.hooks(case),
        ) as client,
    ):
        result = invoke(client, case, stage.deadline)
    check(case, wanted, stage, result, errors[0] if errors else None)


def _of_another(case: OctaCase) -> dict[str, Any]:
    # Section 1: keys are opaque; that some older clients look at their length is no rule for this one.
    records = requests_of(case)
    if not records:
        pytest.skip("section 1: this client does not judge keys by their length")
    return records[0]


def _check_other(case: OctaCase, record: dict[str, Any], stage: OctaStage, result: Any, error: Any) -> None:
    """What another official client asks can be asked, and what answers it can be read, by this one as well."""
    assert len(stage.sent) == 1
    sent, stub = stage.sent[0], stubs_of(case)[0]
    # How they write JSON, and what else they say of themselves, is theirs.
    check_request(sent, {**record, "headers": {name: sent.header(name) for name in HEADERS}, "body_raw": None})
    assert (sent.header("content-type") is None) == (record.get("body") is None)
    if "status" not in stub:
        assert isinstance(error, OctaNetworkError)
    elif stub["status"] >= 300:
        said = stub.get("body_json")
        known = said if isinstance(said, dict) else {}
        assert isinstance(error, OctaApiError)
        assert error.status == stub["status"]
        assert error.details == said
        message = known.get("message") or known.get("error") or f"Request failed with status {error.status}"
        assert str(error) == message
    elif "body_json" in stub:
        assert error is None
        assert result == stub["body_json"]
    else:
        answer = body_of(stub)
        # Files have methods of their own; here they are at least not lost.
        assert result is None if not answer else isinstance(error, OctaDecodeError) and error.body == answer


@pytest.mark.anyio
async def test_async_with_requests_of_others(case: OctaCase) -> None:
    record, stage = _of_another(case), OctaStage(case)
    result: Any = None
    with caught() as errors:
        async with AsyncOctaSpace("k" * 64, transport=AsyncScripted(stage.answer), retries=0) as client:
            result = await client.request(record["method"], record["path"], record.get("query"), **_body(record))
    _check_other(case, record, stage, result, errors[0] if errors else None)


def test_sync_with_requests_of_others(case: OctaCase) -> None:
    record, stage = _of_another(case), OctaStage(case)
    result: Any = None
    with caught() as errors, OctaSpace("k" * 64, transport=Scripted(stage.answer), retries=0) as client:
        result = client.request(record["method"], record["path"], record.get("query"), **_body(record))
    _check_other(case, record, stage, result, errors[0] if errors else None)


def _body(record: dict[str, Any]) -> dict[str, Any]:
    return {} if record.get("body") is None else {"body": record["body"]}
