"""What can be had now: the largest piece of each node, by model of GPU (protocol section 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Connection

from skerry.island.engine.engine import Engine
from skerry.island.faces.dispersed import listing, wire
from skerry.island.faces.dispersed.call import Call, Route
from skerry.island.faces.dispersed.errors import Fault
from skerry.island.faces.dispersed.jobs.placement import GB, Card, Offer
from skerry.island.faces.dispersed.nodes.gpu_names import key_of
from skerry.island.faces.dispersed.nodes.node_offers import all_offers
from skerry.island.faces.dispersed.routes import Table
from skerry.island.ground.texts import iso

Predicate = Callable[["Piece"], bool]

_ANYWHERE = "filter[ignore_region_constraints]"
_BY_REGION = "filter[allowed_region_codes]"


class Piece:
    """What a job could get on one node: all of it that is free, with the cards of one model.

    Args:
        offer: the node.
        cards: of one model; empty for a node without free GPUs.
    """

    def __init__(self, offer: Offer, cards: tuple[Card, ...]) -> None:
        self.offer = offer
        self.cards = cards

    @property
    def hourly_rate(self) -> int:
        """Micros of a dollar for the whole piece."""
        return sum(card.rate for card in self.cards) or self.offer.core_rate * self.offer.cores

    @property
    def id(self) -> str:
        """The same as long as the node and the model are."""
        return str(uuid5(UUID(self.offer.node_uuid), key_of(self.cards[0].name) if self.cards else ""))


class Offers:
    """The same for everybody."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Table:
        """One list."""
        return [("GET", "/v1/compute/offers", Route(self.list))]

    async def list(self, call: Call) -> dict[str, Any]:
        """Pieces of nodes that are there, those that hold what is asked for."""
        wanted = listing.read_query(_query(call), _FILTERS)
        pieces = await self._engine.store.read(_pieces, self._engine, call.now)
        found = [piece for piece in pieces if all(holds(piece) for holds in wanted.clauses)]
        page = listing.window(found, wanted)
        return listing.envelope([view(piece, call.now) for piece in page], wanted, len(found))


def view(piece: Piece, now: int) -> dict[str, Any]:
    """A piece as it is sent.

    Args:
        piece: of a node.
        now: of the quotation, microseconds since 1970.
    """
    offer, cards = piece.offer, piece.cards
    models = (
        [
            {
                "count": len(cards),
                "gpu_registry_uuid": cards[0].registry_uuid,
                "min_vram_gib": min(card.vram_gb for card in cards),
                "name": cards[0].name,
            }
        ]
        if cards
        else []
    )
    return {
        "object": "compute_offer",
        "offer_id": piece.id,
        "region_code": offer.region_code,
        "availability": {"is_available": True, "node_count": 1},
        "hardware_summary": {
            "cpu_cores": offer.cores,
            "gpu_count": len(cards),
            "gpu_model_label": f"{len(cards)} x {cards[0].name}" if cards else None,
            "gpu_models": models,
            "gpu_registry_uuid": cards[0].registry_uuid if cards else None,
            "min_gpu_vram_gib": models[0]["min_vram_gib"] if models else None,
            "ram_gib": offer.memory_bytes // GB,
            "storage_gib": offer.disk_bytes // GB,
        },
        "pricing": {"hourly_rate_usd": wire.usd(piece.hourly_rate), "quoted_at": iso(now)},
    }


def _query(call: Call) -> list[tuple[str, str]]:
    """The query without the regions where the island's owner wants them ignored; nobody else may."""
    wishes = {value for name, value in call.query if name == _ANYWHERE}
    if "true" not in wishes:
        return list(call.query)
    if not call.operator:
        raise Fault(403, "FORBIDDEN", "Only the operator of the service may ignore the constraints on regions")
    return [pair for pair in call.query if pair[0] != _BY_REGION]


def _pieces(connection: Connection, engine: Engine, now: int) -> list[Piece]:
    return [
        piece
        for offer in all_offers(connection, engine, now)
        if offer.assignable and offer.cores > 0
        for piece in _of_node(offer)
    ]


def _of_node(offer: Offer) -> Iterator[Piece]:
    models: dict[str, list[Card]] = {}
    for card in offer.cards:
        models.setdefault(key_of(card.name), []).append(card)
    for cards in models.values():
        yield Piece(offer, tuple(cards))
    if not models:
        yield Piece(offer, ())


def _at_least(measure: Callable[[Piece], int]) -> Callable[[str], Predicate]:
    def predicate(text: str) -> Predicate:
        low, high = listing.bounds(text)
        return lambda piece: (low is None or measure(piece) >= low) and (high is None or measure(piece) <= high)

    return predicate


def _model(text: str) -> Predicate:
    names = {key_of(word) for word in listing.split(text)}
    return lambda piece: bool(piece.cards) and key_of(piece.cards[0].name) in names


def _registry(text: str) -> Predicate:
    uuids = {word.lower() for word in listing.split(text)}
    return lambda piece: bool(piece.cards) and piece.cards[0].registry_uuid in uuids


def _regions(text: str) -> Predicate:
    codes = set(listing.split(text))
    return lambda piece: piece.offer.region_code in codes


def _flag(text: str) -> Predicate:
    listing.boolean(text)
    return lambda piece: True


_FILTERS: dict[str, Callable[[str], Predicate]] = {
    "cpu_count": _at_least(lambda piece: piece.offer.cores),
    "gpu_count": _at_least(lambda piece: len(piece.cards)),
    "gpu_name": _model,
    "gpu_registry_uuid": _registry,
    "min_vram_gb": _at_least(lambda piece: min((card.vram_gb for card in piece.cards), default=0)),
    "min_ram_gb": _at_least(lambda piece: piece.offer.memory_bytes // GB),
    "min_storage_gb": _at_least(lambda piece: piece.offer.disk_bytes // GB),
    "allowed_region_codes": _regions,
    "ignore_region_constraints": _flag,
}
