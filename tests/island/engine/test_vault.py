"""Secrets open with their own key in their own context, and in no other way."""

from __future__ import annotations

import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.engine.errors import Unreadable
from skerry.island.engine.vault import NAME, Vault

CONTEXTS = st.text(max_size=40)


@pytest.fixture(scope="module")
def vault() -> Vault:
    with tempfile.TemporaryDirectory() as directory:
        kept = Vault(Path(directory))
        kept.seal(b"", "")
    return kept


@given(plain=st.binary(max_size=4096), context=CONTEXTS)
def test_what_was_sealed_opens_again(vault: Vault, plain: bytes, context: str) -> None:
    sealed = vault.seal(plain, context)
    assert vault.open(sealed, context) == plain
    assert sealed != vault.seal(plain, context)
    assert len(plain) < 8 or plain not in sealed


@given(plain=st.binary(max_size=64), context=CONTEXTS, other=CONTEXTS)
def test_no_other_context_opens_it(vault: Vault, plain: bytes, context: str, other: str) -> None:
    if other != context:
        with pytest.raises(Unreadable):
            vault.open(vault.seal(plain, context), other)


@given(plain=st.binary(max_size=64), place=st.integers(0, 10**6), change=st.integers(1, 255))
def test_one_changed_byte_is_noticed(vault: Vault, plain: bytes, place: int, change: int) -> None:
    sealed = bytearray(vault.seal(plain, "here"))
    sealed[place % len(sealed)] ^= change
    with pytest.raises(Unreadable):
        vault.open(bytes(sealed), "here")


@given(plain=st.binary(max_size=64), length=st.integers(0, 100))
def test_a_part_is_not_the_whole(vault: Vault, plain: bytes, length: int) -> None:
    sealed = vault.seal(plain, "here")
    with pytest.raises(Unreadable):
        vault.open(sealed[: min(length, len(sealed) - 1)], "here")


def test_the_key_is_private_and_serves_later_servers(tmp_path: Path) -> None:
    sealed = Vault(tmp_path).seal(b"secret", "here")
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert Vault(tmp_path).open(sealed, "here") == b"secret"
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_who_comes_first_makes_the_key_of_all(tmp_path: Path) -> None:
    vaults = [Vault(tmp_path) for _ in range(16)]
    with ThreadPoolExecutor(16) as threads:
        sealed = list(threads.map(lambda vault: vault.seal(b"secret", "here"), vaults))
    assert {Vault(tmp_path).open(one, "here") for one in sealed} == {b"secret"}


def test_a_missing_wrong_or_broken_key_is_told_apart(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    sealed = vault.seal(b"secret", "here")
    key = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).unlink()
    assert vault.open(sealed, "here") == b"secret"
    with pytest.raises(Unreadable, match="missing"):
        Vault(tmp_path).open(sealed, "here")
    assert not (tmp_path / NAME).exists()
    Vault(tmp_path).seal(b"new", "here")
    with pytest.raises(Unreadable, match="another key"):
        Vault(tmp_path).open(sealed, "here")
    (tmp_path / NAME).write_bytes(key[:-1])
    for attempt in (lambda: Vault(tmp_path).open(sealed, "here"), lambda: Vault(tmp_path).seal(b"", "here")):
        with pytest.raises(Unreadable, match="restore it"):
            attempt()
    (tmp_path / NAME).write_bytes(key)
    assert Vault(tmp_path).open(sealed, "here") == b"secret"


def test_no_error_tells_the_secret_or_the_key(tmp_path: Path) -> None:
    sealed = Vault(tmp_path).seal(b"hunter2", "here")
    with pytest.raises(Unreadable) as told:
        Vault(tmp_path).open(sealed, "there")
    assert "hunter2" not in str(told.value)
    assert (tmp_path / NAME).read_bytes().hex() not in str(told.value)
