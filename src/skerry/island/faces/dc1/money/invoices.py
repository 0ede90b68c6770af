"""What a job was charged, and who got it, with a hash by which that can be checked (sections 2.4 and 3.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import ANYBODY
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import job_access, job_rows, job_views
from skerry.island.faces.dc1.money import pdf
from skerry.networks.dc1.signing import settlement_hash


class Invoices:
    """Invoices of single jobs.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """Two reads."""
        job = "/api/jobs/{job_id}"
        return [
            Route(method="GET", path=f"{job}/invoice", handler=self.invoice, access=ANYBODY),
            Route(method="GET", path=f"{job}/invoice.pdf", handler=self.document, access=ANYBODY),
        ]

    async def invoice(self, call: Call, job_id: str) -> Answer:
        """The invoice of a job that has ended."""
        return Answer(invoice(await self._engine.store.read(_ended, call, job_id)))

    async def document(self, call: Call, job_id: str) -> Answer:
        """The same as a PDF file."""
        job = await self._engine.store.read(_ended, call, job_id)
        name = f'attachment; filename="dcp-invoice-{job.job_id}.pdf"'.encode()
        return Answer(document(job), media="application/pdf", headers=((b"content-disposition", name),))


def invoice(job: Row[Any]) -> dict[str, Any]:
    """The invoice of a job that has ended, from its row."""
    gross = int(job.charged or 0)
    hashed = {
        "job_id": job.job_id,
        "renter_id": job.renter_id,
        "provider_id": job.provider_id,
        "gross_halala": gross,
        "platform_fee_halala": int(job.fee or 0),
        "timestamp": wire.iso(job.completed_at),
    }
    return {
        "success": True,
        "invoice_id": f"INV-{job.job_id}",
        **hashed,
        "status": job.status,
        "job_type": job.job_type,
        "model": job.model,
        "quoted_halala": job.quote,
        "gross_sar": wire.sar_text(gross),
        "provider_earned_halala": int(job.provider_earned or 0),
        "refunded_halala": job_views.refunded(job),
        "gpu_seconds_used": job_views.work_seconds(job) or 0,
        "rate_halala_per_min": job.rate_per_minute,
        "currency": "SAR",
        "settlement_hash": settlement_hash(hashed),
    }


def document(job: Row[Any]) -> bytes:
    """The same as a PDF file."""
    told = invoice(job)
    lines = [
        ("Invoice", told["invoice_id"]),
        ("Date", told["timestamp"]),
        ("Job", f"{told['job_id']} ({told['job_type']})"),
        ("Model", told["model"] or "-"),
        ("Renter", str(told["renter_id"])),
        ("Provider", "-" if told["provider_id"] is None else str(told["provider_id"])),
        ("Time", f"{told['gpu_seconds_used']} s"),
        ("Rate", f"{told['rate_halala_per_min']} halala per minute"),
        ("Quoted", _riyals(told["quoted_halala"])),
        ("Refunded", _riyals(told["refunded_halala"])),
        ("Provider's share", _riyals(told["provider_earned_halala"])),
        ("Platform fee", _riyals(told["platform_fee_halala"])),
        ("Total charged", _riyals(told["gross_halala"])),
    ]
    return pdf.page("Invoice", lines, foot=(f"Settlement hash (SHA-256): {told['settlement_hash']}",))


def _riyals(halala: int) -> str:
    return f"{wire.sar_text(halala)} SAR"


def _ended(connection: Connection, call: Call, job_id: str) -> Row[Any]:
    job = job_access.owned(connection, call.caller, job_id)
    if job.status not in job_rows.TERMINAL:
        raise Fault(400, "Job not completed", current_status=job.status)
    return job
