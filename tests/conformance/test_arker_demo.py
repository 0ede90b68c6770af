"""The demonstrations of Arker's protocol: raw, and with the public client in both worlds (protocol section 5.7)."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from skerry.island.island import Island
from skerry.networks.arker import Arker, ArkerError, AsyncArker

if TYPE_CHECKING:
    from tests.conformance.conftest import Raw

MEBIBYTE = 1 << 20


def test_the_demo_with_raw_http(raw: Raw) -> None:
    name, text = raw.unique(), raw.unique()
    vm = raw.fork(name=name)
    ran = raw.run(vm, f"printf '%s\\n' {text}; exit 3")
    assert (ran["stdout"], ran["exit_code"]) == (text + "\n", 3)
    assert raw.ok("GET", f"/v1/vms/{vm}")["name"] == name
    assert raw.ok("DELETE", f"/v1/vms/{vm}") == {"deleted": True}
    assert raw.fails(404, "not_found", "GET", f"/v1/vms/{vm}")
    assert raw.fails(404, "not_found", "DELETE", f"/v1/vms/{vm}")


def test_the_demo_with_the_public_client(island: Island) -> None:
    with island.arker() as arker:
        vm = arker.vm("ubuntu").fork(name="demo")
        try:
            result = vm.run("printf 'hello\\n'; printf 'oops\\n' >&2; exit 4")
            assert (result.stdout, result.stderr, result.exit_code) == (b"hello\n", b"oops\n", 4)
            vm.sync.write_file("/home/user/data.txt", "hello\n")
            assert vm.sync.read_file("/home/user/data.txt") == b"hello\n"
            assert vm.run("cat data.txt").stdout == b"hello\n"
        finally:
            vm.delete()


@pytest.mark.anyio
async def test_the_demo_with_the_asynchronous_client(island: Island) -> None:
    async with island.async_arker() as arker:
        vm = await arker.vm("ubuntu").fork(name="demo")
        try:
            result = await vm.run("printf 'hello\\n'; exit 4")
            assert (result.stdout, result.exit_code) == (b"hello\n", 4)
            await vm.sync.write_file("/home/user/data.txt", "hello\n")
            assert await vm.sync.read_file("/home/user/data.txt") == b"hello\n"
            run = await vm.run("echo later", background=True)
            status = await vm.wait(run.run_id, timeout=60)
            assert (status.stdout_bytes, status.exit_code, status.retry_count) == (b"later\n", 0, 0)
        finally:
            await vm.delete()


def test_the_larger_demo(island: Island) -> None:
    with island.arker() as arker:
        name = f"demo-{os.urandom(6).hex()}"
        vm = arker.vm("ubuntu").fork(name=name)
        child = None
        try:
            assert name in {item.name for item in arker.list()}
            assert arker.get(vm.id).vm_id == vm.id
            vm.sync.write_file("/home/user/note.txt", "from the client")
            assert vm.run("cat /home/user/note.txt").stdout == b"from the client"

            big = os.urandom(8 * MEBIBYTE)
            vm.sync.write_file("/home/user/big.bin", big)
            assert hashlib.sha256(vm.sync.read_file("/home/user/big.bin")).digest() == hashlib.sha256(big).digest()
            assert hashlib.sha256(big).hexdigest().encode() in vm.run("sha256sum big.bin").stdout

            child = vm.fork()
            assert child.sync.read_file("/home/user/note.txt") == b"from the client"
            assert hashlib.sha256(big).hexdigest().encode() in child.run("sha256sum big.bin").stdout
            vm.sync.write_file("/home/user/note.txt", "changed later")
            assert child.run("cat note.txt").stdout == b"from the client"

            with pytest.raises(ArkerError) as caught:
                vm.sync.read_file("/home/user/missing.txt")
            assert (caught.value.code, caught.value.status) == ("not_found", 404)
            assert "file not found: /home/user/missing.txt" in str(caught.value)
        finally:
            if child is not None:
                child.delete()
            vm.delete()


def test_a_burst_source_keeps_its_children_on_the_burst_endpoint(island: Island) -> None:
    with island.arker() as arker:
        vm = arker.vm("arkuntu").fork()
        try:
            assert vm.id.endswith("_skry")
            assert vm.base_url == f"{island.base_url('arker')}/api"
            child = vm.fork()
            try:
                assert child.id.endswith("_skry")
                assert child.run("echo $((6*7))").stdout == b"42\n"
                # A fresh handle by id finds the same endpoint.
                assert arker.vm(child.id).base_url == vm.base_url
            finally:
                child.delete()
        finally:
            vm.delete()


def test_many_small_writes_and_reads_lose_nothing(island: Island) -> None:
    with island.arker() as arker:
        vm = arker.vm("ubuntu").fork()
        try:
            for number in range(30):
                vm.sync.write_file(f"/home/user/many/{number}.txt", f"number {number}")
            assert vm.run("ls many | wc -l").stdout.strip() == b"30"
            for number in range(30):
                assert vm.sync.read_file(f"/home/user/many/{number}.txt") == f"number {number}".encode()
            for number in range(30):
                vm.sync.write_file("/home/user/one.txt", str(number))
                assert vm.sync.read_file("/home/user/one.txt") == str(number).encode()
        finally:
            vm.delete()


def test_sixty_megabytes_make_the_round_trip(island: Island) -> None:
    with island.arker() as arker:
        vm = arker.vm("ubuntu").fork()
        try:
            big = os.urandom(60 * MEBIBYTE)
            digest = hashlib.sha256(big).hexdigest()
            vm.sync.write_file("/home/user/big.bin", big)
            shell = "stat -c %s big.bin; sha256sum < big.bin; head -c 16 big.bin | od -An -tx1 | tr -d ' \\n'"
            expected = f"{len(big)}\n{digest}  -\n{big[:16].hex()}".encode()
            assert vm.run(shell).stdout == expected
            child = vm.fork()
            try:
                assert child.run(shell).stdout == expected
            finally:
                child.delete()
            assert hashlib.sha256(vm.sync.read_file("/home/user/big.bin")).hexdigest() == digest
        finally:
            vm.delete()


def test_the_wrong_key_is_an_error_of_the_client(island: Island) -> None:
    with Arker(api_key="ark_live_wrong", base_url=island.base_url("arker")) as arker:
        with pytest.raises(ArkerError) as caught:
            arker.list()
        assert (caught.value.code, caught.value.status) == ("unauthorized", 401)


def test_the_island_gives_clients_what_they_need(island: Island, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in island.env().items():
        monkeypatch.setenv(name, value)
    with Arker() as arker:
        assert {golden.name for golden in arker.goldens()} >= {"ubuntu", "arkuntu"}
    assert AsyncArker is not Arker
