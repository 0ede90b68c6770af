"""Strict reading of requests: what is refused, and what counts as the same request."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.faces.arker import wire
from skerry.island.faces.arker.errors import STATUS, ArkerFault, envelope, from_engine, unexpected
from skerry.island.faces.arker.schemas import (
    ForkRequest,
    LegacyRunRequest,
    ResizeTerminalRequest,
    RunRequest,
    SyncRead,
    SyncRequest,
    SyncWrite,
)


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[]", "Expected `object`"),
        (b"null", "Expected `object`"),
        (b'"text"', "Expected `object`"),
        (b'{"command":"x"', "not valid JSON"),
        (b'{"command":"x"} trailing', "not valid JSON"),
        (b'{"command":"\xff"}', "not valid JSON"),
        (b'{"command":"\\ud800"}', "not valid JSON"),
        (b"{}", "missing required field `command`"),
        (b'{"command":null}', "Expected `str`"),
        (b'{"command":["ls"]}', "Expected `str`"),
        (b'{"command":"x","extra":1}', "unknown field `extra`"),
        (b'{"command":"x","timeout":"5"}', "Expected `int | null`"),
        (b'{"command":"x","timeout":1.5}', "Expected `int | null`"),
        (b'{"command":"x","timeout":-1}', "`int` >= 0"),
        (b'{"command":"x","timeout":' + b"9" * 400 + b"}", ""),
        (b'{"command":"x","vcpu_count":256}', "`int` <= 255"),
        (b'{"command":"x","background":1}', "Expected `bool | null`"),
        (b'{"command":"x","session_id":0}', "Expected `str | null`"),
        (b'{"command":"x","network":{"inbound":{"ports":{"80":{"more":1}}}}}', "unknown field `more`"),
        (b'{"command":"x","mounts":[{"uri":"a"}]}', "missing required field `mount_point`"),
        (b'{"command":"x","command":"y"}', "repeats the key 'command'"),
        (b'{"command":"x","network":{"inbound":null,"inbound":null}}', "repeats the key 'inbound'"),
        (b'{"command":"a\\u0000b"}', "NUL"),
        (b'{"command":' + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
    ],
)
def test_a_bad_run_body_is_a_bad_request(body: bytes, part: str) -> None:
    with pytest.raises(ArkerFault) as caught:
        wire.decode(body, RunRequest)
    assert caught.value.code == "bad_request"
    assert part in caught.value.message


def test_an_escaped_backslash_is_no_nul() -> None:
    body = json.dumps({"command": "printf '\\u0000'"}).encode()
    assert b"\\u0000" in body
    assert wire.decode(body, RunRequest).command == "printf '\\u0000'"


def test_defaults_apply_and_empty_bodies_are_for_those_who_allow_them() -> None:
    request = wire.decode(b"", ForkRequest, empty_ok=True)
    assert request.disk is True
    assert request.durable is False
    assert wire.decode(b'{"command":""}', RunRequest).end_symbol == "auto"
    assert wire.decode(b'{"command":"x","session_id":7}', LegacyRunRequest).session_id == 7


@pytest.mark.parametrize("network", [True, "open", {"type": "allow", "allow": ["a.example"]}, None])
def test_a_fork_takes_every_form_of_network(network: object) -> None:
    wire.decode(json.dumps({"network": network}).encode(), ForkRequest)


def test_sync_is_told_apart_by_op() -> None:
    assert isinstance(wire.decode(b'{"op":"read","path":"/x"}', SyncRequest), SyncRead)
    assert isinstance(wire.decode(b'{"writes":[],"op":"write"}', SyncRequest), SyncWrite)
    for body in (b'{"op":"manifest","path":"/x"}', b'{"path":"/x"}', b'{"op":"read","path":"/x","writes":[]}'):
        with pytest.raises(ArkerFault):
            wire.decode(body, SyncRequest)


def test_window_sizes_are_sixteen_bits() -> None:
    assert wire.decode(b'{"cols":65535,"rows":0}', ResizeTerminalRequest).cols == 65535
    with pytest.raises(ArkerFault):
        wire.decode(b'{"cols":65536,"rows":0}', ResizeTerminalRequest)


def test_null_and_absent_are_one_request_and_everything_else_is_not() -> None:
    def mark(text: str, path: str = "/v1/vms/a/run") -> str:
        return wire.fingerprint(path, wire.decode(text.encode(), RunRequest))

    plain = mark('{"command":"x"}')
    assert mark('{ "timeout" : null, "command" : "\\u0078" }') == plain
    assert mark('{"command":"x","background":false,"mounts":[],"end_symbol":"auto"}') == plain
    assert mark('{"command":"x","network":null}') == plain
    assert mark('{"command":"x","background":null,"mounts":null,"end_symbol":null}') == plain
    assert mark('{"command":"y"}') != plain
    assert mark('{"command":"x","background":true}') != plain
    assert mark('{"command":"x","timeout":0}') != plain
    assert mark('{"command":"x"}', "/v1/vms/b/run") != plain


def test_both_generations_of_a_body_have_one_fingerprint() -> None:
    body = b'{"command":"x","session_id":"s"}'
    new, old = wire.decode(body, RunRequest), wire.decode(body, LegacyRunRequest)
    assert wire.fingerprint("/", new) == wire.fingerprint("/", old)


@pytest.mark.parametrize("key", [b"", b"x" * 65, b"tab\there", b"\xe9", b"new\nline"])
def test_an_idempotency_key_is_short_printable_ascii(key: bytes) -> None:
    with pytest.raises(ArkerFault):
        wire.idempotency_key([(b"idempotency-key", key)])


def test_an_idempotency_key_is_taken_as_it_is() -> None:
    assert wire.idempotency_key([(b"idempotency-key", b"x" * 64)]) == "x" * 64
    assert wire.idempotency_key([]) is None
    with pytest.raises(ArkerFault):
        wire.idempotency_key([(b"idempotency-key", b"one"), (b"idempotency-key", b"other")])


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("7", 7), ("00010", 10), ("99", 99), ("000", 0)])
def test_a_number_is_read_whole(text: str, value: int) -> None:
    assert wire.number("n", text, 0, 99) == value


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", " 1", "100", "0" * 9 + "100", "9" * 5000, "\u00b2", "\u0661"])
def test_anything_else_is_no_number(text: str) -> None:
    with pytest.raises(ArkerFault):
        wire.number("n", text, 0, 99)


@given(st.binary(max_size=200))
def test_output_survives_its_encoding(data: bytes) -> None:
    import base64

    text, encoding = wire.text_of(data)
    assert (base64.b64decode(text) if encoding == "base64" else text.encode()) == data
    assert encoding in ("utf-8", "base64")


@given(st.binary(max_size=60))
def test_no_bytes_whatever_break_the_decoder(body: bytes) -> None:
    for kind in (RunRequest, ForkRequest, SyncRequest):
        # Anything but a value or a refusal would escape here.
        with contextlib.suppress(ArkerFault):
            wire.decode(body, kind)


def test_the_envelopes() -> None:
    assert json.loads(envelope("conflict", "no", legacy=False)) == {"code": "conflict", "message": "no"}
    assert json.loads(envelope("conflict", "no", legacy=True)) == {
        "code": "conflict",
        "message": "no",
        "ok": False,
        "error": {"code": "conflict", "message": "no"},
    }


def test_every_refusal_of_the_engine_has_a_code() -> None:
    from skerry.island.engine import errors

    def family(kind: type[errors.EngineError]) -> list[type[errors.EngineError]]:
        return [kind] + [deeper for child in kind.__subclasses__() for deeper in family(child)]

    # Parts of the island have kinds of their own, with the codes of these.
    for kind in [it for it in family(errors.EngineError) if it.__module__ == errors.__name__]:
        fault = from_engine(kind("because"))
        if kind is errors.EngineError:
            # It says nothing of why: a defect.
            assert fault is None
            continue
        assert fault is not None
        assert fault.message == "because"
        assert fault.status == STATUS[fault.code]
        assert fault.status != 500

    def told(error: errors.EngineError) -> tuple[int, str]:
        fault = from_engine(error)
        assert fault is not None
        return fault.status, fault.code

    assert told(errors.Busy("x")) == (409, "vm_busy")
    assert told(errors.Unsupported("x")) == (422, "unsupported_operation")


def test_a_reference_never_reads_as_a_reason_to_retry() -> None:
    references = {unexpected().message.rpartition(" ")[2] for _ in range(50)}
    assert len(references) == 50
    assert all(it.isalpha() for it in references)
