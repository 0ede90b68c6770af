"""What a type checker sees of the public API. Checked by basedpyright; at run time only that it imports."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

import skerry

if TYPE_CHECKING:
    from skerry import Arker, AsyncArker, AsyncDispersed, Dispersed, Island, Money
    from skerry.networks.arker import AsyncComputer, Computer, RunResult
    from skerry.networks.dispersed import AsyncPage, Job, JobInput, JobRun, Page

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

    def dispersed(client: Dispersed, job: JobInput) -> None:
        assert_type(client.jobs.create(job, retry=0), Job)
        assert_type(client.jobs.create({"title": "x", "anything": 1}, idempotency_key="k"), Job)
        assert_type(client.jobs.list({"limit": 1}, status=["RUNNING"], timeout=None), Page[Job])
        assert_type(next(iter(client.job_runs.iter_all())), JobRun)
        assert_type(client.job_runs.get("x").hourly_rate, Money | None)
        assert_type(client.job_recipes.delete("x"), None)
        assert_type(client.api_keys.create({"name": "x", "preset": "CONSUMER"}).secret_key, str | None)
        client.jobs.list(colour="red")  # pyright: ignore[reportCallIssue]
        client.jobs.get("x", retries=1)  # pyright: ignore[reportCallIssue]

    async def async_dispersed(client: AsyncDispersed) -> None:
        page = await client.job_runs.list(job_uuid="x")
        assert_type(page, AsyncPage[JobRun])
        async for run in page:
            assert_type(run, JobRun)
        async for job in client.jobs.iter_all():
            assert_type(job.created_at is None, bool)

    def island() -> None:
        with Island() as here:
            assert_type(here.arker(), Arker)
            assert_type(here.async_arker(), AsyncArker)
            assert_type(here.dispersed(), Dispersed)
            assert_type(here.async_dispersed(retry=0), AsyncDispersed)
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
    assert {"Arker", "AsyncArker", "AsyncDispersed", "Dispersed", "Island", "Money"} <= set(skerry.__all__)
