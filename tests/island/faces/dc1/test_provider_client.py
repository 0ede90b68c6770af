"""The client's side of providers, over the face."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from skerry.money import Money
from skerry.networks.dc1 import AsyncDC1, errors
from tests.island.faces.dc1.hosts import RESULT
from tests.island.faces.dc1.stage import ADMIN, SECRET, Stage

pytestmark = pytest.mark.anyio


@pytest.fixture
async def http(stage: Stage) -> AsyncIterator[httpx2.AsyncClient]:
    """Requests straight into the application."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=stage.app)) as client:
        yield client


def client(stage: Stage, http: httpx2.AsyncClient, provider_key: str | None = None) -> AsyncDC1:
    """Of the first account, and a provider's."""
    return AsyncDC1(
        stage.key,
        "http://127.0.0.1:4242/dc1",
        provider_key=provider_key,
        admin_token=ADMIN,
        hmac_secret=SECRET,
        transport=http,
        environ={},
    )


async def test_a_provider_from_its_registration_to_its_payout(stage: Stage, http: httpx2.AsyncClient) -> None:
    async with client(stage, http) as dc1:
        made = await dc1.provider.register("GPU Farm", "farm@example.sa", "RTX 4090", location="Riyadh")
    async with client(stage, http, made.api_key) as dc1:
        host = dc1.provider
        beat = await host.heartbeat({"gpu_model": "RTX 4090", "vram_mib": 24564, "gpu_util_pct": 3})
        assert beat.success is True
        assert beat.approved is True
        assert (await host.announce({"gpu_model": "RTX 4090", "vram_mib": 24564})).success is True
        beat = await host.daemon_heartbeat(gpu_status={"gpu_name": "RTX 4090", "gpu_vram_mib": 24564})
        assert beat.needs_update is True
        assert (await host.heartbeat_by_id(made.provider_id, gpu_utilization=5)).status == "online"
        assert (await host.readiness({"cuda": True, "pytorch": True, "vram_gb": 24})).readiness_status == "ready"
        me = await host.me()
        assert (me.id, me.email, me.is_online, me.gpu_model) == (made.provider_id, "farm@example.sa", True, "RTX 4090")
        assert (await host.preferences(run_mode="manual")).run_mode == "manual"
        assert (await host.pause()).success is True
        assert (await host.resume()).success is True
        for read in (host.status, host.self_test, host.metrics, host.verifications, host.daemon_logs):
            assert await read()

        (listed,) = await dc1.list_providers()
        assert (listed.is_live, listed.vram_gb, listed.location) == (True, 24.0, "Riyadh")
        job = await dc1.submit_job(listed.id, "llm_inference", {"prompt": "hi"}, duration_minutes=5)
        (shown,) = await host.get_jobs()
        assert (shown.id, shown.status, shown.payload) == (job.id, "pending", {"prompt": "hi"})
        claim = await host.claim()
        assert claim is not None
        assert claim.signed_text is not None
        assert (await host.verify_hmac(claim.job_id, claim.task_spec_hmac or "")).valid is True
        assert (await host.verify_hmac_local(claim.task_spec_hmac or "")).valid is True
        assert (await host.progress(claim.job_id, "generating")).phase == "generating"
        assert (await host.write_log(claim.job_id, "one line")).lines_written == 1
        stage.clock.advance(43)
        settled = await host.job_result(claim.job_id, success=True, result=RESULT, gpu_seconds_used=42.5)
        assert (settled.earned, settled.cost_halala) == (Money(8, "SAR"), 11)
        assert (await host.job_result(claim.job_id, success=True)).message == "Job already settled (completed)"
        done = await dc1.jobs.get(job.id)
        assert done.is_done
        earnings = await host.get_earnings()
        assert (earnings.available, earnings.total_jobs) == (Money(8, "SAR"), 1)
        assert (await host.job_history()).completed_jobs == 1
        with pytest.raises(errors.DC1Error, match="exceeds claimable earnings"):
            await host.withdraw(Money(1_000, "SAR"), iban="SA0380000000608010167519")
        key = await host.create_key(made.provider_id, label="node-1")
        listing = await host.list_keys(made.provider_id)
        assert [each.label for each in listing.keys or []] == ["node-1"]
        assert key.key is not None
        assert await dc1.admin.provider(made.provider_id)
        await dc1.admin.suspend_provider(made.provider_id)
        with pytest.raises(errors.DC1PermissionDeniedError, match="suspended"):
            await host.heartbeat()
        fresh = await host.rotate_key()
        with pytest.raises(errors.AuthError):
            await host.claim()
    async with client(stage, http, fresh.new_key) as dc1:
        assert await dc1.provider.claim() is None
