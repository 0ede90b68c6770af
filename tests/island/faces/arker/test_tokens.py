"""Presigned tokens: whole, for one purpose, for a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.faces.arker.tokens import GetGrant, PutGrant, TokenRefused, TokenSigner, TunnelGrant

signer = TokenSigner(b"k" * 32)
put = PutGrant(vm="vmh-1", upload="01", size=5, expires=1000)


def test_a_token_opens_for_its_own_purpose_only() -> None:
    token = signer.sign(put)
    assert signer.open(token, PutGrant, 999) == put
    for other in (GetGrant, TunnelGrant):
        with pytest.raises(TokenRefused) as caught:
            signer.open(token, other, 999)
        assert caught.value.reason == "malformed"


def test_a_token_ends() -> None:
    with pytest.raises(TokenRefused) as caught:
        signer.open(signer.sign(put), PutGrant, 1000)
    assert caught.value.reason == "expired"


def test_another_key_makes_another_token() -> None:
    with pytest.raises(TokenRefused):
        TokenSigner(b"j" * 32).open(signer.sign(put), PutGrant, 0)


def test_a_short_key_signs_nothing() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        TokenSigner(b"short")


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_spoils_a_token(position: int, change: int) -> None:
    import base64

    token = signer.sign(put)
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[position % len(raw)] ^= change
    forged = base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode()
    with pytest.raises(TokenRefused):
        signer.open(forged, PutGrant, 0)


@given(st.text(max_size=80))
def test_noise_is_no_token(text: str) -> None:
    with pytest.raises(TokenRefused):
        signer.open(text, PutGrant, 0)


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=40))
def test_paths_of_any_letters_travel(path: str, vm: str) -> None:
    grant = GetGrant(account="a", vm=vm, path=path, expires=10)
    token = signer.sign(grant)
    assert signer.open(token, GetGrant, 0) == grant
    assert all(letter.isalnum() or letter in "-_" for letter in token)
