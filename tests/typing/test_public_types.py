"""What a type checker sees of the public API. Checked by basedpyright; at run time only that it imports."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

import skerry

if TYPE_CHECKING:
    from skerry import (
        DC1,
        Arker,
        AsyncArker,
        AsyncDC1,
        AsyncDispersed,
        AsyncOctaSpace,
        Dispersed,
        Island,
        Money,
        OctaSpace,
    )
    from skerry.networks.arker import AsyncComputer, Computer, RunResult
    from skerry.networks.dc1 import Balance, Claim, JobOutput, Submission
    from skerry.networks.dc1 import Job as DC1Job
    from skerry.networks.dispersed import AsyncPage, Job, JobInput, JobRun, Page
    from skerry.networks.octaspace import (
        App,
        AsyncSession,
        Download,
        MrMachine,
        RawResponse,
        RequestContext,
        SavedFile,
        ServiceInfo,
        Session,
    )

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

    def dc1(client: DC1) -> None:
        assert_type(client.submit_job(1, "llm_inference", {"prompt": "x"}, 2, model="m"), DC1Job)
        assert_type(client.jobs.create(job_type="training", duration_minutes=1), Submission)
        assert_type(client.jobs.wait("j", timeout=None), JobOutput)
        assert_type(client.jobs.wait("j").cost, Money | None)
        assert_type(client.get_balance().available, Money)
        assert_type(client.provider.claim(), Claim | None)
        assert_type(client.with_raw_response.get_balance(), RawResponse[Balance])
        for line in client.jobs.stream_logs("j"):
            assert_type(line.message, str)
        client.jobs.create(colour="red")  # pyright: ignore[reportCallIssue]

    async def async_dc1(client: AsyncDC1) -> None:
        assert_type(await client.poll_job("j"), DC1Job)
        assert_type(await client.jobs.image("j"), bytes)
        async for piece in client.v1.stream_chat("m", []):
            assert_type(piece.text, str)

    def octaspace(client: OctaSpace) -> None:
        session = client.services.mr.start(7, disk_size=10, image="ubuntu:24.04", ports=[22], timeout=None)
        assert_type(session, Session)
        assert_type(session.wait_ready(timeout=60), ServiceInfo)
        assert_type(session.stop(5), None)
        assert_type(client.services.mr.available(retries=0), list[MrMachine])
        assert_type(client.apps.list(), list[App])
        assert_type(client.with_raw_response.apps.list(), RawResponse[list[App]])
        assert_type(client.accounts.balance().funds, Money | None)
        assert_type(client.nodes.download_logs(1), Download)
        assert_type(client.nodes.save_logs("1", "x"), SavedFile)
        assert_type(client.idle_jobs.logs(1, "2"), str)
        client.services.vpn.start(1, subkind="wg").info(retry=1)  # pyright: ignore[reportCallIssue]

    async def async_octaspace(client: AsyncOctaSpace) -> None:
        async def told(context: RequestContext) -> None:
            context.headers["x-trace"] = str(context.attempt)

        session = await client.with_options(on_request=told).services.vpn.start(1, subkind="v2ray", protocol="vless")
        assert_type(session, AsyncSession)
        assert_type(await session.info(), ServiceInfo)
        assert_type(await client.services.session("u").with_raw_response.info(), RawResponse[ServiceInfo])

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
    clients = {"Arker", "AsyncArker", "AsyncDC1", "AsyncDispersed", "AsyncOctaSpace", "DC1", "Dispersed", "OctaSpace"}
    assert clients | {"Island", "Money"} <= set(skerry.__all__)
