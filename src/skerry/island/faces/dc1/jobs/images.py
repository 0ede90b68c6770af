"""Images that jobs may name: the built-in ones, those the operator approved, and those the island has (section 3.6)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import ANYBODY
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.limits import REGISTRY
from skerry.island.faces.dc1.tables import images

BUILT_IN = (
    "dc1/general-worker:latest",
    "dc1/llm-worker:latest",
    "dc1/sd-worker:latest",
    "dc1/base-worker:latest",
    "pytorch/pytorch:2.1.0-cuda11.8-cudnn8-runtime",
    "pytorch/pytorch:2.2.0-cuda12.1-cudnn8-runtime",
    "nvcr.io/nvidia/pytorch:24.01-py3",
    "nvcr.io/nvidia/tensorflow:24.01-tf2-py3",
    "tensorflow/tensorflow:2.15.0-gpu",
    "vllm/vllm-openai:latest",
    "dcp/pytorch-cuda:latest",
    "dcp/vllm-serve:latest",
    "dcp/training:latest",
    "dcp/rendering:latest",
)
_NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.\-]*[A-Za-z0-9])?(?::\d{1,5})?"
_REFERENCE = re.compile(
    rf"(?:{_HOST}/)?{_NAME}(?:/{_NAME})*(?::[A-Za-z0-9_][A-Za-z0-9_.\-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?"
)
_LONGEST = 255


class Images:
    """The registry.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """One read."""
        path = "/api/containers/registry"
        return [Route(method="GET", path=path, handler=self.registry, access=ANYBODY, limits=(REGISTRY,))]

    async def registry(self, call: Call) -> Answer:
        """Every image that jobs may name."""
        built_in = [
            {
                "id": None,
                "image_ref": name,
                "image_type": "template",
                "description": "Built-in DCP template image",
                "approved_at": None,
                "source": "template",
            }
            for name in BUILT_IN
        ]
        approved = [view(row) for row in await self._engine.store.read(every)]
        found = built_in + approved
        return Answer({"images": found, "total": len(found)})


def is_reference(text: Any) -> bool:
    """Whether something is an image's name as registries have it."""
    return isinstance(text, str) and len(text) <= _LONGEST and _REFERENCE.fullmatch(text) is not None


def every(connection: Connection) -> list[Row[Any]]:
    """Images that the operator approved, by name."""
    return list(connection.execute(select(images).order_by(images.c.image_ref)))


def is_approved(connection: Connection, image: str) -> bool:
    """Whether a job may name an image; what the owner has put on the island counts as approved elsewhere."""
    if image in BUILT_IN:
        return True
    return connection.execute(select(images.c.image_ref).where(images.c.image_ref == image)).first() is not None


def approve(
    connection: Connection, image: str, *, image_type: str, description: str | None, digest: str | None, now: int
) -> Row[Any]:
    """Let jobs name an image from now on; the row, as it is then."""
    connection.execute(images.delete().where(images.c.image_ref == image))
    values = {"image_ref": image, "image_type": image_type, "description": description, "digest": digest}
    connection.execute(images.insert().values(approved_at=now, **values))
    return connection.execute(select(images).where(images.c.image_ref == image)).one()


def view(row: Row[Any]) -> dict[str, Any]:
    """An approved image as it is sent."""
    return {
        "id": row.image_ref,
        "image_ref": row.image_ref,
        "image_type": row.image_type,
        "description": row.description,
        "approved_at": wire.iso(row.approved_at),
        "source": "admin",
    }
