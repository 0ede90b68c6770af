"""Every recorded case of OctaSpace, against both clients."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.networks.octaspace import AsyncOctaSpace, OctaSpace
from tests.io.script import AsyncScripted, Scripted
from tests.vectors.cases import find
from tests.vectors.octaspace_cases import Expected, OctaCase, OctaStage, caught, check, expected, invoke, load


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    files = find("octaspace", metafunc.config.getoption("--vectors"))
    cases = [case for file in files for case in load(file, "sdk")]
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
