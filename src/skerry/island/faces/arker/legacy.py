"""What only 0.2.0 clients ask, below `/api/v1` (protocol section 3.8)."""

from __future__ import annotations

from urllib.parse import parse_qs

from skerry.island.faces.arker import views
from skerry.island.faces.arker.errors import ArkerFault
from skerry.island.faces.arker.goldens import is_burst
from skerry.island.faces.arker.schemas import LegacyForkRequest, LegacyListAnswer, LegacyVm
from skerry.island.faces.arker.service import Service
from skerry.island.faces.arker.wire import number
from skerry.times import rfc3339

REGION = "local"
SORTS = {"created_at": "created_at", "-created_at": "-created_at", "region": "created_at", "-region": "-created_at"}


_FIRST_COPY = "01KQBYKEV5WJ7YB010603T1DCT_d8c0"
# 0.2.x clients know a thousand public copies of one golden by id; all were made within this hour.
_COPIES = ("01KQH2AD", "01KQH54K")
_COPIES_SUFFIX = "_uswe"


def source_of(reference: str) -> str:
    """What a 0.2.0 client means to fork: it puts the id of one of the hosted public copies in place of `arkuntu`.

    Example:
        >>> source_of("01KQH2ADR3DCAJF06N4R453WPJ_uswe"), source_of("ubuntu")
        ('arkuntu', 'ubuntu')
    """
    known = is_burst(reference) and reference.endswith(_COPIES_SUFFIX) and _COPIES[0] <= reference < _COPIES[1]
    return "arkuntu" if known or reference == _FIRST_COPY else reference


def check_fork(request: LegacyForkRequest) -> bool:
    """Whether a fork comes from a 0.2.0 client, which always says `is_public`.

    Raises:
        ArkerFault: `unsupported_operation` for a public VM or another region.
    """
    if request.is_public:
        raise ArkerFault("unsupported_operation", "is_public: VMs of this island belong to their owner alone")
    if request.region not in (None, "", REGION):
        raise ArkerFault("unsupported_operation", f"region: this island is one place, called {REGION}")
    return request.is_public is not None


def page_of(query: bytes) -> dict[str, str | int | None]:
    """The list parameters of a query, by the names `Service.vms` gives them; absent ones are absent.

    Raises:
        ArkerFault: `bad_request` for values outside their documented bounds.
    """
    try:
        fields = {name: values[-1] for name, values in parse_qs(query.decode("ascii"), errors="strict").items()}
    except ValueError:
        raise ArkerFault("bad_request", "the query is not valid") from None
    page: dict[str, str | int | None] = {}
    if "limit" in fields:
        page["limit"] = number("limit", fields["limit"], 1, 100)
    if "offset" in fields:
        page["offset"] = number("offset", fields["offset"], 0, 2**31)
    if "q" in fields:
        if "\x00" in fields["q"]:
            raise ArkerFault("bad_request", "q contains a NUL character")
        page["query"] = fields["q"]
    if "sort" in fields:
        if fields["sort"] not in SORTS:
            raise ArkerFault("bad_request", f"sort is one of {', '.join(SORTS)}")
        page["sort"] = SORTS[fields["sort"]]
    return page


async def list_vms(service: Service, account_id: str, query: bytes) -> LegacyListAnswer:
    """Answer of GET `/api/v1/vms/list`: a page, newest first unless asked otherwise."""
    page: dict[str, str | int | None] = {"limit": 25, "sort": "-created_at", **page_of(query)}
    found, total = await service.vms(account_id, **page)  # type: ignore[arg-type]
    items = [
        LegacyVm(
            vm_id=vm.id,
            name=vm.name,
            base_image=vm.labels.get(views.GOLDEN_LABEL, vm.image),
            region=REGION,
            created_at=rfc3339(vm.created_at),
        )
        for vm, _ in found
    ]
    return LegacyListAnswer(items=items, total=total)
