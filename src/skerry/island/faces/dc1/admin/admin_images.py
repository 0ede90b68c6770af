"""Images that the operator lets jobs name (section 3.9, containers)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import limits, wire
from skerry.island.faces.dc1.access import ADMIN
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.fields import Fields
from skerry.island.faces.dc1.jobs import images

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_USUAL_TYPE = "custom"


class AdminImages:
    """Approval.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """All with the operator's token."""
        base = "/api/admin/containers"
        rows = (
            ("POST", f"{base}/approve-image", self.approve),
            ("POST", f"{base}/scan-image", self.scan),
            ("GET", f"{base}/security-status", self.status),
        )
        return [
            Route(method=method, path=path, handler=handler, access=ADMIN, limits=(limits.ADMIN,))
            for method, path, handler in rows
        ]

    async def approve(self, call: Call) -> Answer:
        """Let jobs name an image; approving it again replaces what was said of it.

        Raises:
            Fault: 400 for what is no image reference, or a digest that is none or is not the reference's own.
        """
        fields = Fields(call.json, nulls=True)
        reference = fields.text("image_ref", least=1, most=255)
        image_type = fields.text("image_type", least=1, most=64, required=False) or _USUAL_TYPE
        description = fields.text("description", most=500, required=False)
        digest = fields.text("digest", most=80, required=False)
        fields.check()
        assert reference is not None
        if not images.is_reference(reference):
            raise Fault(400, "image_ref: Invalid container image reference")
        _, _, pinned = reference.partition("@")
        if digest is not None and (not _DIGEST.fullmatch(digest) or pinned not in ("", digest)):
            raise Fault(400, "digest must be sha256: and 64 hexadecimal digits, the same as in image_ref")
        row = await self._engine.store.run(
            images.approve,
            reference,
            image_type=image_type,
            description=description,
            digest=digest or pinned or None,
            now=call.now,
        )
        return Answer({"success": True, "image": {**images.view(row), "digest": row.digest}})

    async def scan(self, call: Call) -> Answer:
        """Nothing: an island has no scanner, and no image is called safe that nobody looked at.

        Raises:
            Fault: 503, always.
        """
        raise Fault(503, "This island has no image scanner; approve images that you trust", code="NO_SCANNER")

    async def status(self, call: Call) -> Answer:
        """What is known of every image that jobs may name."""
        rows = await self._engine.store.read(images.every)
        approved: list[dict[str, Any]] = [
            {
                "image_ref": row.image_ref,
                "source": "admin",
                "digest": row.digest,
                "pinned": row.digest is not None,
                "approved_at": wire.iso(row.approved_at),
                "scan_status": "not_scanned",
            }
            for row in rows
        ]
        built_in = [
            {
                "image_ref": name,
                "source": "template",
                "digest": None,
                "pinned": False,
                "approved_at": None,
                "scan_status": "not_scanned",
            }
            for name in images.BUILT_IN
        ]
        found = built_in + approved
        return Answer({"images": found, "total": len(found), "scanner": None, "timestamp": wire.iso(call.now)})
