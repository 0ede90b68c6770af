"""Every recorded case of Arker, against both clients."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vectors import arker_cases
from tests.vectors.cases import Case, find, load
from tests.vectors.stage import AsyncRecorded, Recorded, Stage

_NOTHING = object()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    files = find("arker", metafunc.config.getoption("--vectors"))
    cases = [case for file in files for case in load(file)]
    names = [case.name for case in cases]
    metafunc.parametrize("case", cases, ids=[f"{case.tag}: {case.name}" for case in cases])
    assert len(set(names)) == len(names) or len(files) > 1, "case names must be unique"


@pytest.fixture(autouse=True)
def _needed(case: Case) -> None:
    if reason := arker_cases.skip_reason(case):
        pytest.skip(reason)


def _stage(case: Case) -> Stage:
    return Stage(case.stubs, chance=case.content.get("jitter_random") or 0.0)


def _check(case: Case, stage: Stage, result: Any, error: BaseException | None) -> None:
    expected_error = case.content.get("error")
    if error is not None and expected_error is None:
        raise error
    stage.check_requests(case.requests)
    stage.check_sleeps(case.content.get("sleeps_ms"))
    if expected_error is not None:
        assert error is not None, f"{result!r} was returned instead of an error"
        arker_cases.check_error(case, error, expected_error)
    else:
        arker_cases.check_result(result, case.content.get("result"))


@pytest.mark.anyio
async def test_async(case: Case) -> None:
    stage = _stage(case)
    result: Any = _NOTHING
    caught: BaseException | None = None
    try:
        client = arker_cases.client_class(case, asynchronous=True)(
            transport=AsyncRecorded(stage),
            effects=stage.effects,
            sleeper=stage.async_sleep,
            **arker_cases.client_options(case),
        )
        result = client
        for step in case.steps if case.steps[0].method != "new" else []:
            method, args, keywords = arker_cases.resolve(result, step)
            result = method(*args, **keywords)
            if hasattr(result, "__await__"):
                result = await result
    except Exception as error:
        caught = error
    _check(case, stage, result, caught)


def test_sync(case: Case) -> None:
    stage = _stage(case)
    result: Any = _NOTHING
    caught: BaseException | None = None
    try:
        client = arker_cases.client_class(case, asynchronous=False)(
            transport=Recorded(stage),
            effects=stage.effects,
            sleeper=stage.sleep,
            **arker_cases.client_options(case),
        )
        result = client
        for step in case.steps if case.steps[0].method != "new" else []:
            method, args, keywords = arker_cases.resolve(result, step)
            result = method(*args, **keywords)
    except Exception as error:
        caught = error
    _check(case, stage, result, caught)
