"""What a verifier accepts: every spelling of the same request, and nothing else."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.networks.dispersed.canonical import canonical_json, canonical_query, sorted_pairs
from skerry.networks.dispersed.signing import auth_headers, body_hash, canonical_string, signature
from skerry.networks.dispersed.verification import (
    SKEW_MS,
    Credentials,
    body_candidates,
    path_candidates,
    query_candidates,
    read_credentials,
    signature_matches,
)

NOW = 1706918400000
NONCE = "a1b2c3d4e5f6a7b8"
SECRET = "sk_1"
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def _headers(**changes: str) -> list[tuple[str, str]]:
    headers = {"X-API-Key": "pk_1", "x-time": str(NOW), "X-NONCE": NONCE, "X-Signature": "0" * 64}
    return [(name, changes.get(name.lower().replace("-", "_"), value)) for name, value in headers.items()]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"x_api_key": ""}, "MISSING_AUTH_HEADERS"),
        ({"x_signature": ""}, "MISSING_AUTH_HEADERS"),
        ({"x_time": "1.5"}, "INVALID_TIMESTAMP"),
        ({"x_time": "-1"}, "INVALID_TIMESTAMP"),
        ({"x_time": "1" * 17}, "INVALID_TIMESTAMP"),
        ({"x_time": "١٢٣"}, "INVALID_TIMESTAMP"),
        ({"x_time": f"{NOW}\n"}, "INVALID_TIMESTAMP"),
        ({"x_time": str(NOW // 1000)}, "TIMESTAMP_OUT_OF_RANGE"),
        ({"x_time": str(NOW - SKEW_MS - 1)}, "TIMESTAMP_OUT_OF_RANGE"),
        ({"x_time": str(NOW + SKEW_MS + 1)}, "TIMESTAMP_OUT_OF_RANGE"),
        ({"x_nonce": "a" * 15}, "INVALID_NONCE"),
        ({"x_nonce": "a" * 129}, "INVALID_NONCE"),
        ({"x_nonce": "a" * 16 + "!"}, "INVALID_NONCE"),
        ({"x_nonce": "é" * 16}, "INVALID_NONCE"),
    ],
)
def test_refusals_in_order(changes: dict[str, str], code: str) -> None:
    assert read_credentials(_headers(**changes), NOW) == code


def test_the_edges_are_inside() -> None:
    for moment in (NOW - SKEW_MS, NOW + SKEW_MS):
        assert isinstance(read_credentials(_headers(x_time=str(moment)), NOW), Credentials)
    for nonce in ("a" * 16, "_-" * 64):
        assert isinstance(read_credentials(_headers(x_nonce=nonce), NOW), Credentials)


def _signed(method: str, path: str, query: str, body_sha256: str) -> Credentials:
    made = canonical_string("pk_1", str(NOW), NONCE, method, path, query, body_sha256)
    return Credentials("pk_1", str(NOW), NONCE, signature(SECRET, made))


@given(st.lists(st.tuples(text, text), max_size=4))
def test_every_encoding_of_a_query(pairs: list[tuple[str, str]]) -> None:
    ordered = sorted_pairs(pairs)
    for sent, made in (
        (canonical_query(pairs), canonical_query(pairs)),
        (urlencode(pairs), canonical_query(pairs)),
        (urlencode(pairs), urlencode(ordered)),
        (urlencode(pairs), urlencode(pairs)),
        (urlencode(pairs), "&".join(sorted(urlencode(pairs).split("&")))),
    ):
        found = _signed("GET", "/v1/jobs", made, body_hash(b""))
        assert signature_matches(found, SECRET, method="get", target=f"/v1/jobs?{sent}", body=b"")


@pytest.mark.parametrize("made", ["r=%21*%27%28%29%7E+", "r=%21%2A%27%28%29~+", "r=!*'()~%20", "r=%21%2A%27%28%29~%20"])
def test_encodings_by_example(made: str) -> None:
    assert made in query_candidates("r=!*'()~+")


@given(st.dictionaries(text, st.floats(allow_nan=False, allow_infinity=False) | st.integers() | text | st.none()))
def test_every_encoding_of_a_body(value: dict[str, Any]) -> None:
    sent = json.dumps(value).encode()
    compact = {"separators": (",", ":"), "sort_keys": True}
    for made in (
        sent,
        canonical_json(value),
        json.dumps(value, **compact).encode(),  # type: ignore[arg-type]
        json.dumps(value, ensure_ascii=False, **compact).encode(),  # type: ignore[arg-type]
    ):
        assert body_hash(made) in body_candidates(sent)


@given(st.binary(min_size=1))
def test_any_bytes_have_their_own_hash(body: bytes) -> None:
    assert body_candidates(body)[0] == body_hash(body)


def test_no_body_is_not_an_empty_object() -> None:
    assert body_candidates(b"") == (body_hash(b""),)
    assert body_hash(b"") not in body_candidates(b"{}")
    assert body_candidates(b"NaN") == (body_hash(b"NaN"),)
    assert len(body_candidates(b"[" * 100_000)) == 1


def test_only_the_raw_path_counts() -> None:
    found = _signed("GET", "/v1/jobs/a/b", "", body_hash(b""))
    assert not signature_matches(found, SECRET, method="GET", target="/v1/jobs/a%2Fb", body=b"")
    found = _signed("GET", "/v1/jobs/a%2Fb", "", body_hash(b""))
    assert signature_matches(found, SECRET, method="GET", target="/v1/jobs/a%2Fb", body=b"")
    assert not signature_matches(found, SECRET, method="GET", target="/v1/jobs/a%2fb", body=b"")
    assert not signature_matches(found, "sk_2", method="GET", target="/v1/jobs/a%2Fb", body=b"")


def test_a_mount_may_be_signed_or_not() -> None:
    for path in ("/dispersed/v1/jobs", "/v1/jobs"):
        found = _signed("GET", path, "", body_hash(b""))
        assert signature_matches(
            found, SECRET, method="GET", target="/dispersed/v1/jobs", body=b"", prefix="/dispersed"
        )
    assert path_candidates("/dispersedly/v1", "/dispersed/") == ("/dispersedly/v1",)


def test_a_signature_has_one_form() -> None:
    found = _signed("GET", "/v1/jobs", "", body_hash(b""))
    for mark in (found.signature.upper(), found.signature + "\n", found.signature[:-1], "", "é" * 64):
        wrong = Credentials(found.public_key, found.time_ms, found.nonce, mark)
        assert not signature_matches(wrong, SECRET, method="GET", target="/v1/jobs", body=b"")


@given(
    st.dictionaries(text, text, max_size=3), st.sampled_from(["GET", "POST"]), st.none() | st.dictionaries(text, text)
)
def test_what_the_client_signs_is_accepted(query: dict[str, str], method: str, body: Any) -> None:
    content = None if body is None else canonical_json(body)
    tail = canonical_query(query)
    target = "/v1/jobs" + (f"?{tail}" if tail else "")
    url = f"https://h.test{target}"
    headers = auth_headers("pk_1", SECRET, method=method, url=url, body=content, time_ms=NOW, nonce=NONCE)
    found = read_credentials(headers, NOW)
    assert isinstance(found, Credentials)
    assert signature_matches(found, SECRET, method=method, target=target, body=content or b"")
    assert not signature_matches(found, SECRET, method=method, target=target + "x", body=content or b"")
