"""What a type checker sees of the public API. Checked by basedpyright; at run time only that it imports."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

import skerry

if TYPE_CHECKING:
    from skerry import Arker, AsyncArker, Island, Money
    from skerry.networks.arker import AsyncComputer, Computer, RunResult

    def sync_client(arker: Arker) -> None:
        vm = arker.vm("ubuntu")
        assert_type(vm, Computer)
        assert_type(vm.fork(name="x"), Computer)
        assert_type(vm.run("true"), RunResult)
        assert_type(vm.sync.read_file("/home/user/x"), bytes)

    async def async_client(arker: AsyncArker) -> None:
        vm = await arker.vm("ubuntu").fork()
        assert_type(vm, AsyncComputer)
        assert_type(await vm.run("true"), RunResult)

    def island() -> None:
        with Island() as here:
            assert_type(here.arker(), Arker)
            assert_type(here.async_arker(), AsyncArker)
            assert_type(here.url, str)

    def money(price: Money) -> None:
        assert_type(price + price, Money)
        assert_type(price < price, bool)

    def errors() -> None:
        try:
            pass
        except skerry.NotFoundError as error:
            assert_type(error.code, str | None)


def test_the_checked_names_exist() -> None:
    assert {"Arker", "AsyncArker", "Island", "Money"} <= set(skerry.__all__)
