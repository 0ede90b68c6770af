"""Everything about an island that its owner can choose, in one value."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from skerry.errors import ConfigurationError, InvalidRequestError
from skerry.island.sandbox.spec import Limits, NetworkPolicy
from skerry.money import Money
from skerry.units import GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What the local node charges, per hour, in micros of a US dollar."""

    cpu_hour: Money = Money(40_000, "USD")
    memory_gib_hour: Money = Money(5_000, "USD")
    gpu_hour: Money = Money(1_000_000, "USD")


@dataclass(frozen=True, slots=True, kw_only=True)
class OctaSpace:
    """How this machine takes part in OctaSpace.

    Args:
        nodes: as how many nodes of equal shares it is offered, since a node does one thing at a time; None for one per
            processor, at most four.
        market_price: of one OCTA; there is no market here that would say it.
        opening_balance: credit that the first account starts with.
        base: price of a node per hour, until its operator changes it.
        storage: the same for a GB of disk and an hour.
        traffic: the same for a GB moved.
        fee_permille: thousandths of every charge that the network keeps.
        tick: seconds of which whole ones are billed.
        idle_limit: seconds without traffic after which a session is ended, None for never.
        charge_amount: `auto`, `number` or `string`: how amounts of Wei beyond 2^53 are written.
        requests_per_minute: how many requests a key may make, None for as many as it likes.
        city, country, country_iso: where this machine is said to be.
        latitude, longitude: the same in degrees.
        residential: whether its address is a home's.

    Raises:
        ConfigurationError: no node, no price of OCTA, or a fee of more than everything.
    """

    nodes: int | None = None
    market_price: Money = Money(104_000, "USD")
    opening_balance: Money = Money(1_000 * 10**18, "OCTA")
    base: Money = Money(5 * 10**16, "OCTA")
    storage: Money = Money(10**14, "OCTA")
    traffic: Money = Money(5 * 10**16, "OCTA")
    fee_permille: int = 0
    tick: int = 60
    idle_limit: float | None = None
    charge_amount: Literal["auto", "number", "string"] = "auto"
    requests_per_minute: int | None = None
    city: str = "here"
    country: str = "Nowhere"
    country_iso: str = "ZZ"
    latitude: float = 0.0
    longitude: float = 0.0
    residential: bool = False

    def __post_init__(self) -> None:
        if self.market_price.amount <= 0 or self.tick < 1 or (self.nodes is not None and self.nodes < 1):
            raise ConfigurationError("OctaSpace needs a price of OCTA, a tick and nodes that are more than nothing")
        if not 0 <= self.fee_permille <= 1000:
            raise ConfigurationError(f"a fee of {self.fee_permille} thousandths is none; it goes from 0 to 1000")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispersed:
    """How this machine takes part in Dispersed.

    Args:
        cpu_hour: what a processor costs an hour for a job without GPUs.
        region: code of the region that this machine counts as for jobs, None for none of them.
    """

    cpu_hour: Money = Money(20_000, "USD")
    region: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DC1:
    """How this machine takes part in DC1, and the network's own switches.

    Args:
        local_provider: whether this machine carries out jobs itself.
        slots: how many jobs it carries out at once.
        auto_approve: whether providers that register may work without an operator's word.
        pricing: `flat`, by the minute and job type, or `gpu`, by the model of the GPU.
        opening_balance: credit that the first account starts with.
        sandbox_topup: whether renters may credit themselves.
        daily_jobs: how many jobs a renter may submit in a day, None for as many as it likes.
        monthly_spend: halala that a renter may spend in a month, None for as many as it has.
        hmac_secret: signs task specs and heartbeats; None for one that is made and kept in the data directory.
        require_heartbeat_hmac: whether heartbeats must be signed.
        admin_token: of the operator; the owner's key does as well.
        webhook_secret: signs callbacks; None for each renter's own key.
        allow_private_webhooks: whether callbacks may lead to private addresses.
        charge_cancelled_serving: whether a cancelled job that had served is charged for its time.
        rate_limits: whether requests are limited at all.
        rates: other numbers for single limits, by name as in `faces/dc1/limits.py`; None lifts one.
        sar_usd_rate: thousandths of a riyal for a dollar.

    Raises:
        ConfigurationError: no slot, an unknown pricing, or no rate of exchange.
    """

    local_provider: bool = True
    slots: int = 8
    auto_approve: bool = True
    pricing: Literal["flat", "gpu"] = "flat"
    opening_balance: Money = Money(100_000, "SAR")
    sandbox_topup: bool = True
    daily_jobs: int | None = None
    monthly_spend: int | None = None
    hmac_secret: str | None = None
    require_heartbeat_hmac: bool = False
    admin_token: str | None = None
    webhook_secret: str | None = None
    allow_private_webhooks: bool = False
    charge_cancelled_serving: bool = False
    rate_limits: bool = True
    rates: tuple[tuple[str, int | None], ...] = ()
    sar_usd_rate: int = 3_750

    def __post_init__(self) -> None:
        if self.slots < 1 or self.sar_usd_rate < 1 or self.pricing not in ("flat", "gpu"):
            raise ConfigurationError("DC1 needs a slot, a rate of exchange, and pricing that is flat or gpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Choices of one island; every field has a `SKERRY_<NAME>` environment variable where a text makes sense.

    Args:
        data_dir: where everything lives: `island.db`, `sandboxes/`, `layers/`, `images/`, `objects/`.
        host: address to bind; anything but loopback needs `allow_remote`.
        port: TCP port, 0 for any free one.
        allow_remote: serve other machines too; keys are then the only wall.
        database_url: SQLAlchemy URL; None means SQLite in `data_dir`.
        driver: `auto`, `namespace` or `process`.
        public_host: host name used in URLs that clients follow; None derives it from the request.
        origins: web origins whose pages may call the island, such as `https://app.example`; `*` for all. Its own pages
            may in any case.
        limits: bounds of a sandbox that asks for none.
        network: egress policy of a sandbox that asks for none.
        egress_private: CIDR blocks that egress may reach although they are private or loopback.
        prices: what the local node charges.
        opening_balance: credit that the first account starts with.
        idle_suspend: seconds without a run after which a sandbox's processes are ended.
        idle_exit: seconds without any request or run after which the server stops itself; None for never.
        drain: seconds that a graceful stop waits for foreground runs.
        max_layers: chain length at which a sandbox is flattened in the background.
        run_retention: seconds for which ended runs and idempotency keys are kept.
        max_upload_bytes: largest file through sync.
        requests_per_minute: how many requests a key may make in a minute, where its network has such a limit; None
            for as many as it likes.
        cpu_floor_millis: thousandths of a CPU that an allocation counts as at least, so that very many tiny ones do not
            all begin at once.
        dispersed: how this machine takes part in Dispersed.
        octaspace: the same for OctaSpace.
        dc1: the same for DC1.
        port_range: first and last host port that published ports of sandboxes may take; None lets the kernel choose.
        ssh_port: TCP port of the SSH server, 0 for any free one (kept over restarts), None for no SSH server; it
            begins to listen when the first sandbox can be logged in to.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 4242
    allow_remote: bool = False
    database_url: str | None = None
    driver: str = "auto"
    public_host: str | None = None
    origins: tuple[str, ...] = ("*",)
    limits: Limits = field(default_factory=lambda: Limits(memory_bytes=2 * GIB, disk_bytes=20 * GIB))
    network: NetworkPolicy = field(default_factory=lambda: NetworkPolicy(mode="open"))
    egress_private: tuple[str, ...] = ()
    prices: Prices = field(default_factory=Prices)
    opening_balance: Money = Money(1_000_000_000, "USD")
    idle_suspend: float = 300.0
    idle_exit: float | None = None
    drain: float = 10.0
    max_layers: int = 48
    run_retention: float = 7 * 86400.0
    max_upload_bytes: int = 1 * GIB
    requests_per_minute: int | None = 600
    cpu_floor_millis: int = 100
    dispersed: Dispersed = field(default_factory=Dispersed)
    octaspace: OctaSpace = field(default_factory=OctaSpace)
    dc1: DC1 = field(default_factory=DC1)
    port_range: tuple[int, int] | None = None
    ssh_port: int | None = 0

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "origins", tuple(map(_origin, self.origins)))
        except ValueError as error:
            raise ConfigurationError(str(error)) from None

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, **overrides: object) -> Settings:
        """Settings from `SKERRY_*` variables and platform directories; keyword arguments win.

        Raises:
            ConfigurationError: a variable cannot be read as what it should be.
        """
        import platformdirs

        values: dict[str, object] = {
            "data_dir": Path(env.get("SKERRY_DATA_DIR") or platformdirs.user_data_dir("skerry")),
        }
        values.update(_read(env, "SKERRY_", _READERS))
        for name, kind, readers in (
            ("dispersed", Dispersed, _DISPERSED_READERS),
            ("octaspace", OctaSpace, _OCTASPACE_READERS),
            ("dc1", DC1, _DC1_READERS),
        ):
            if found := dict(_read(env, f"SKERRY_{name.upper()}_", readers)):
                values[name] = kind(**found)
        values.update({name: value for name, value in overrides.items() if value is not None or name in _OPTIONAL})
        return cls(**values)  # type: ignore[arg-type]


def _read(
    env: Mapping[str, str], prefix: str, readers: Mapping[str, Callable[[str], Any]]
) -> Iterator[tuple[str, Any]]:
    """What the environment says of some fields, by their names."""
    for name, read in readers.items():
        variable = f"{prefix}{name.upper()}"
        if text := env.get(variable):
            try:
                yield name, read(text)
            except (ValueError, InvalidRequestError) as error:
                raise ConfigurationError(f"{variable}={text!r} is unreadable: {error}") from None


def _dollars(text: str) -> Money:
    return _price(text, "USD")


def _octa(text: str) -> Money:
    return _price(text, "OCTA")


def _price(text: str, currency: str) -> Money:
    found = Money.of(text, currency)
    if found.amount < 0:
        raise ValueError("a price cannot be negative")
    return found


def _market(text: str) -> Money:
    found = _dollars(text)
    if not found.amount:
        raise ValueError("what is worth nothing cannot pay for anything")
    return found


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("it is a whole number") from None


def _count(text: str) -> int:
    found = _whole(text)
    if found < 1:
        raise ValueError("it must be at least 1")
    return found


def _riyals(text: str) -> Money:
    return _price(text, "SAR")


def _switch(text: str) -> bool:
    if text.lower() not in ("1", "true", "yes", "on", "0", "false", "no", "off"):
        raise ValueError("it is on or off")
    return text.lower() in ("1", "true", "yes", "on")


def _pricing(text: str) -> str:
    if text not in ("flat", "gpu"):
        raise ValueError("it is flat or gpu")
    return text


def _rates(text: str) -> tuple[tuple[str, int | None], ...]:
    """Such as `submit=60,register=off`."""
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    return tuple((name.strip(), _maybe(value.strip())) for name, _, value in pairs)


def _form(text: str) -> str:
    if text not in ("auto", "number", "string"):
        raise ValueError("it is auto, number or string")
    return text


def _seconds(text: str) -> float | None:
    return None if text == "off" else float(text)


def _maybe(text: str) -> int | None:
    return None if text == "off" else _whole(text)


def _origins(text: str) -> tuple[str, ...]:
    """Such as `https://app.example,http://localhost:3000`; `off` for none."""
    return () if text == "off" else tuple(_origin(part.strip()) for part in text.split(",") if part.strip())


def _origin(text: str) -> str:
    """An origin as browsers write it: in lower case, without a path, without the port that goes without saying."""
    if text in ("*", "null"):
        return text
    try:
        found = urlsplit(text.lower())
        port = found.port
    except ValueError:
        found, port = urlsplit(""), None
    beyond = found.path.strip("/") or found.query or found.fragment or "@" in found.netloc
    if not found.scheme or not found.hostname or beyond or any(mark.isspace() for mark in text):
        raise ValueError(f"{text!r} is no web origin such as https://app.example or http://localhost:3000")
    host = f"[{found.hostname}]" if ":" in found.hostname else found.hostname
    usual = {"http": 80, "https": 443}.get(found.scheme)
    return f"{found.scheme}://{host}" + ("" if port in (None, usual) else f":{port}")


def _ports(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    found = int(first), int(last if dash else first)
    if not 1 <= found[0] <= found[1] <= 65535:
        raise ValueError(f"{text!r} is no range of ports such as 20000-20999")
    return found


_READERS: dict[str, Callable[[str], object]] = {
    "host": str,
    "port": _whole,
    "database_url": str,
    "driver": str,
    "public_host": str,
    "origins": _origins,
    "port_range": _ports,
    "ssh_port": _maybe,
    "requests_per_minute": _maybe,
}
_DISPERSED_READERS: dict[str, Callable[[str], Any]] = {"cpu_hour": _dollars, "region": str}
_OCTASPACE_READERS: dict[str, Callable[[str], Any]] = {
    "nodes": _count,
    "market_price": _market,
    "opening_balance": _octa,
    "base": _octa,
    "storage": _octa,
    "traffic": _octa,
    "fee_permille": _whole,
    "tick": _count,
    "idle_limit": _seconds,
    "charge_amount": _form,
    "requests_per_minute": _maybe,
    "city": str,
    "country": str,
    "country_iso": str,
    "latitude": float,
    "longitude": float,
}
_DC1_READERS: dict[str, Callable[[str], Any]] = {
    "local_provider": _switch,
    "slots": _count,
    "auto_approve": _switch,
    "pricing": _pricing,
    "opening_balance": _riyals,
    "sandbox_topup": _switch,
    "daily_jobs": _maybe,
    "monthly_spend": _maybe,
    "hmac_secret": str,
    "require_heartbeat_hmac": _switch,
    "admin_token": str,
    "webhook_secret": str,
    "allow_private_webhooks": _switch,
    "charge_cancelled_serving": _switch,
    "rate_limits": _switch,
    "rates": _rates,
}
# For these, None says something that leaving it out does not.
_OPTIONAL = ("ssh_port", "requests_per_minute")
