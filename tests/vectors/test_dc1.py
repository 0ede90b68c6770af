"""Every recorded case of DC1, against both clients and the pure functions."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any
from urllib.parse import unquote

import pytest

from skerry.errors import ConfigurationError, SkerryError
from skerry.networks.dc1 import DC1, APIError, AsyncDC1, DC1DecodeError
from tests.vectors import dc1_observed, dc1_rules, dc1_sdk, dc1_seed
from tests.vectors.cases import DATA, find
from tests.vectors.dc1_stage import BASE, DC1Stage, json_of, path_of, query_of, unescaped
from tests.vectors.stage import AsyncRecorded, Recorded

# Nobody but the operator reads others' jobs, and has no method for it.
GENERAL = {"observed.jobs.get.admin"}


def _family(content: dict[str, Any]) -> str:
    if content["case"].startswith("seed."):
        return "guide"
    if "sdk" in content:
        return "sdk"
    return "observed" if content.get("observed") else "rules"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    files = find("dc1", metafunc.config.getoption("--vectors"))
    family = metafunc.function.__name__.split("_")[1]
    if "case" not in metafunc.fixturenames:
        return
    cases = [case for file in files for case in json.loads(file.read_text(encoding="utf-8"))]
    chosen = [case for case in cases if _family(case) == family]
    metafunc.parametrize("case", chosen, ids=[case["case"] for case in chosen])
    names = [case["case"] for case in cases]
    assert len(set(names)) == len(names) or len(files) > 1, "case names must be unique"


def _settings(case: dict[str, Any]) -> dict[str, Any]:
    given = case.get("client") or {}
    settings: dict[str, Any] = {
        "base_url": (given.get("baseUrl") or given.get("base_url") or "{{base}}").replace("{{base}}", BASE),
        "environ": {},
    }
    if "timeoutMs" in given or "timeout" in given:
        settings["timeout"] = given["timeoutMs"] / 1000 if "timeoutMs" in given else given["timeout"]
    if "dc1_provider" in case["sdk"]:
        settings["provider_key"] = given.get("api_key", dc1_sdk.PROVIDER_KEY)
    else:
        settings["api_key"] = given.get("apiKey", given.get("api_key", dc1_sdk.RENTER_KEY))
    return settings


def _client(kind: type[Any], stage: DC1Stage, **settings: Any) -> Any:
    asynchronous = kind is AsyncDC1
    return kind(
        transport=(AsyncRecorded if asynchronous else Recorded)(stage),  # type: ignore[arg-type]
        effects=stage.effects,
        sleeper=stage.async_sleep if asynchronous else stage.sleep,
        **settings,
    )


async def _settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def _sdk(kind: type[Any], case: dict[str, Any]) -> None:
    stage, progress = DC1Stage(case["response_stub"]), []
    settings = _settings(case)
    if "connection_refused" in case["case"]:
        # Nothing is recorded that could be served: the transport itself finds nobody there.
        client = kind(**{**settings, "base_url": "http://127.0.0.1:1"})
    elif case["call"]["method"] in ("DC1RenterClient", "dc1.DC1Client", "DC1Client"):
        with pytest.raises(ConfigurationError) as refused:
            _client(kind, stage, **settings)
        assert isinstance(refused.value, ValueError)
        assert refused.value.message == "api_key is required"
        assert case["error"]["message"] in (refused.value.message, "apiKey is required")
        return
    else:
        client = _client(kind, stage, **settings)
    agent = {"user-agent": dc1_sdk.NODE_AGENT} if "Node" in case["sdk"] else None
    client_used = client.with_options(headers=agent)
    step, shape = dc1_sdk.CALLS[case["call"]["method"]]
    result: Any = None
    caught: SkerryError | None = None
    try:
        made = step(client_used, case["call"]["args"], case["call"].get("kwargs") or {}, progress)
        result = dc1_sdk.with_key(shape(await _settled(made)), settings.get("api_key", ""))
    except SkerryError as error:
        caught = error
    finally:
        await _settled(client.aclose() if kind is AsyncDC1 else client.close())
    if caught is not None and "error" not in case and not isinstance(caught, DC1DecodeError):
        raise caught
    if "connection_refused" in case["case"]:
        assert isinstance(caught, APIError)
        assert (caught.status_code, caught.response) == (0, case["error"]["response"])
        assert caught.message.startswith("Connection error: ")
        return
    stubs = case["response_stub"]
    first = stubs[0] if isinstance(stubs, list) else stubs
    if 300 <= first.get("status", 0) < 400 and len(stage.sent) == 1:
        # One official SDK follows redirections; a key goes to nobody but whom it was meant for (sections 2.9 and 4.1).
        assert isinstance(caught, APIError)
        assert caught.status == first["status"]
        return
    _check_sent(stage, case)
    assert progress == case.get("on_progress", [])
    if dc1_sdk.no_json(stubs):
        # Section 4.2: what leaks there, or is taken for an answer, is an error here; a picture is a finished job.
        assert (
            isinstance(caught, DC1DecodeError) if caught is not None else result.get("isDone", result.get("@is_done"))
        )
    elif "error" in case and case["error"]["name"] not in dc1_sdk.ERRORS:
        # Something of the language itself leaks out of the package; nothing leaks out of ours.
        assert caught is not None, f"{result!r} was returned instead of an error"
        assert isinstance(caught, TimeoutError) or case["error"]["name"] != "TimeoutError"
    elif "error" in case:
        assert caught is not None, f"{result!r} was returned instead of an error"
        recorded, ours = dc1_sdk.comparable(case["error"], dc1_sdk.error_shape(caught, case["sdk"]))
        assert ours == recorded
    else:
        assert caught is None, caught
        assert result == case["result"]


def _check_sent(stage: DC1Stage, case: dict[str, Any]) -> None:
    assert len(stage.sent) == case["request_count"]
    recorded = case.get("requests") or [case["request"]] * case["request_count"]
    for request, record in zip(stage.sent, recorded, strict=True):
        path = record["path"]
        if record.get("raw_target", "").startswith("//"):
            # A slash at the end of the base URL is doubled by one official SDK; here it is stripped (section 4.1).
            path = "/api" + path
        assert request.method == record["method"]
        # The SDKs escape few ids and keys, and what is not escaped may be taken for more than it is.
        found = ((path_of(request), query_of(request)), unescaped(request))
        assert any((place, record.get("query") or {}) in found for place in (path, unquote(path)))
        assert json_of(request) == record.get("body")
        headers = {**(case["request"].get("headers") or {}), **(record.get("headers") or {})}
        for name, value in headers.items():
            # What the transport adds by itself is what the recorded clients' libraries add.
            assert request.header(name) == (None if (name, value) == ("accept", "*/*") else value), name
        if "dc1_provider" in case["sdk"] and "x-provider-key" not in headers:
            assert request.header("x-provider-key") is None
    if "sleeps_s" in case or "sleeps_ms" in case:
        expected = case.get("sleeps_s") or [one / 1000 for one in case.get("sleeps_ms", [])]
        assert stage.slept == expected


@pytest.mark.anyio
async def test_sdk_async(case: dict[str, Any]) -> None:
    await _sdk(AsyncDC1, case)


@pytest.mark.anyio
async def test_sdk_sync(case: dict[str, Any]) -> None:
    await _sdk(DC1, case)


async def _guide(kind: type[Any], case: dict[str, Any]) -> None:
    stage = DC1Stage(case["response_stub"])
    keys = [request["headers"].get("x-renter-key") for request in case["requests"]]
    key = next((key for key in keys if key), dc1_sdk.RENTER_KEY)
    client = _client(kind, stage, api_key=key, base_url=BASE, environ={})
    guide = dc1_seed.Guide(client, stage.sleep)
    expected = case.get("error") or {}
    caught: Exception | None = None
    try:
        if case["case"].startswith("seed.python.poll_job"):
            seconds = re.search(r"within ([\d.]+)s", expected.get("message", ""))
            job_id = next(iter(case["response_stub"])).rpartition("/")[2]
            await guide.poll_job(job_id, json.loads(seconds.group(1)) if seconds else 600)
        else:
            snippet = next(run for name, run in dc1_seed.SNIPPETS.items() if case["case"].startswith(name))
            await snippet(guide)
    except (TimeoutError, RuntimeError) as error:
        caught = error
    if caught is not None:
        assert expected, caught
        assert isinstance(caught, TimeoutError) == (expected["name"] == "TimeoutError")
        # Where a snippet has no words for what is missing, it stumbles over it, and the words are its language's.
        assert str(caught) == expected["message"] or expected["name"] not in ("TimeoutError", "Error", "RuntimeError")
    else:
        assert not expected
        result = case["result"]
        if guide.endpoint is not None:
            # What the served model was asked then is a matter between it and its own client.
            assert guide.endpoint in json.dumps({name: case[name] for name in case if name != "response_stub"})
        else:
            assert guide.stdout == result["stdout"]
    _check_sent(stage, case)


@pytest.mark.anyio
async def test_guide_async(case: dict[str, Any]) -> None:
    await _guide(AsyncDC1, case)


@pytest.mark.anyio
async def test_guide_sync(case: dict[str, Any]) -> None:
    await _guide(DC1, case)


async def _made(kind: type[Any], case: dict[str, Any], own: bool) -> tuple[DC1Stage, Any] | None:
    """What was sent, and what was returned or raised.

    None where it should be sent by a method of its own and there is none, or one that says more than was recorded, such
    as what the server was asked to miss.
    """
    pair = dc1_observed.read(case)
    stage = DC1Stage(pair.response)
    client = _client(kind, stage, base_url=BASE, environ={}, **dc1_observed.client_settings(pair))
    call = dc1_observed.own_call(client, pair) if own else dc1_observed.general_call(client, pair)
    if call is None:
        return None
    try:
        made = call()
        if inspect.isasyncgen(made):
            result: Any = [event async for event in made]
        elif inspect.isgenerator(made):
            result = list(made)
        else:
            result = await _settled(made)
    except APIError as error:
        result = error
    return None if own and not dc1_observed.as_recorded(pair, stage.sent) else (stage, result)


async def _observed(kind: type[Any], case: dict[str, Any]) -> None:
    pair = dc1_observed.read(case)
    own = await _made(kind, case, True)
    found = own or await _made(kind, case, False)
    assert found is not None
    stage, result = found
    dc1_observed.check_sent(pair, stage.sent)
    refused = not 200 <= pair.response["status"] < 300
    broken = next((piece for piece in dc1_observed.pieces(pair) if piece.get("error")), None)
    if broken is not None:
        assert isinstance(result, APIError)
        assert result.response == broken
    elif refused and not (pair.response["status"] == 410 and own):
        assert isinstance(result, APIError), f"{result!r} was returned instead of an error"
        dc1_observed.check_error(pair, result)
    elif isinstance(result, APIError):
        raise result
    elif isinstance(pair.response.get("body"), str) and isinstance(result, list):
        dc1_observed.check_events(pair, result)
    else:
        dc1_observed.check_result(pair, result)


@pytest.mark.anyio
async def test_observed_async(case: dict[str, Any]) -> None:
    await _observed(AsyncDC1, case)


@pytest.mark.anyio
async def test_observed_sync(case: dict[str, Any]) -> None:
    await _observed(DC1, case)


@pytest.mark.anyio
async def test_what_was_answered_well_has_a_method_of_its_own() -> None:
    cases = json.loads((DATA / "dc1.json").read_text(encoding="utf-8"))
    served = [case for case in cases if _family(case) == "observed" and case["response"]["status"] < 300]
    assert {case["case"] for case in served if await _made(DC1, case, True) is None} == GENERAL


def test_rules_hold(case: dict[str, Any]) -> None:
    call = case["call"]
    dc1_rules.check(call["method"], call["args"][0], case["result"])
