"""No secret survives, and prose does."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry._kernel.redaction import MASK, redact, redact_headers, redact_url

keys = st.text(string.ascii_letters + string.digits, min_size=16, max_size=64)


@given(keys, st.sampled_from(["Bearer ark_live_{}", "ark_live_{}", "key sk_live_{}!", "(r402_{})", "whsec_{}"]))
def test_keys_are_masked(key: str, frame: str) -> None:
    shown = redact(frame.format(key))
    assert key not in shown
    assert MASK in shown


@pytest.mark.parametrize(
    "text",
    [
        *("missing bearer token", "no basic authentication", "task-runner", "image ark_ubuntu", "disk-full"),
        *("Basic plan", "set OCTA_API_KEY or DC1_API_KEY"),
        *("ssh-ed25519, sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"),
    ],
)
def test_prose_stays(text: str) -> None:
    assert redact(text) == text


def test_signing_secrets() -> None:
    assert redact("bad key sk_test_c0ffee00112233, sorry") == f"bad key {MASK}, sorry"
    assert redact("task_0123456789abcdef and sk_learn_models") == "task_0123456789abcdef and sk_learn_models"
    assert redact_headers([("X-Signature", "0f" * 32)]) == (("X-Signature", MASK),)


def test_keys_of_the_marketplace() -> None:
    for key in (
        "dc1-renter-00ff",
        "dc1-provider-5c0e9a52-5a0c",
        "dc1-sk-00ff00ff",
        "dcp-renter-00ff00",
        "dcp_00ff00ff00ff",
    ):
        long = key + "0" * 12
        assert redact(f"GET /api/providers/{long}/jobs") == f"GET /api/providers/{MASK}/jobs"
        assert long not in redact_url(f"https://h.test/api/renters/me?key={long}")
    for text in ("dc1-renter-sdk/0.1.0", "dcp-job-job-1742671800000-ab12cd", "dcp_wallet", "dc1-renter keys"):
        assert redact(text) == text
    for name in ("X-Renter-Key", "x-provider-key", "x-admin-token", "X-DC1-Signature", "X-DCP-Signature"):
        assert redact_headers([(name, "secret")]) == ((name, MASK),)


@given(keys)
def test_headers(key: str) -> None:
    shown = redact_headers(
        [("Authorization", key), ("x-api-key", key), ("x-note", f"Bearer ark_live_{key}"), ("a", "b")]
    )
    assert key not in str(shown)
    assert ("a", "b") in shown


@given(keys)
def test_urls(key: str) -> None:
    for url in (
        f"https://u:{key}@h.test/p",
        f"https://h.test/p?X-Amz-Signature={key}&b=1",
        f"wss://h.test/pty?ticket={key}",
        f"https://h.test/p?a=1&api_key={key}#x",
    ):
        assert key not in redact_url(url)
    assert redact_url(f"https://h.test/_store/{key}?x={key}", secret=True) == f"https://h.test/{MASK}"
    assert redact_url("https://h.test/v1/vms?limit=3&q=a%20b") == "https://h.test/v1/vms?limit=3&q=a%20b"
