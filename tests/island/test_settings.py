"""Settings from the environment, where they say more than a text."""

from __future__ import annotations

from pathlib import Path

import pytest

from skerry.errors import ConfigurationError
from skerry.island.settings import OctaSpace, Settings
from skerry.money import Money


def test_ports_from_the_environment() -> None:
    plain = Settings.from_env({})
    assert (plain.port_range, plain.ssh_port) == (None, 0)
    for text, wanted in (("20000-20999", (20000, 20999)), ("2022", (2022, 2022))):
        assert Settings.from_env({"SKERRY_PORT_RANGE": text}).port_range == wanted
    assert Settings.from_env({"SKERRY_SSH_PORT": "2222"}).ssh_port == 2222
    assert Settings.from_env({"SKERRY_SSH_PORT": "off"}).ssh_port is None
    assert Settings.from_env({}, ssh_port=None, port=None) == Settings(data_dir=plain.data_dir, ssh_port=None)


@pytest.mark.parametrize("text", ["5-3", "0-10", "1-65536", "a-b", "1-", "-5", "1-2-3"])
def test_no_range(text: str) -> None:
    with pytest.raises(ConfigurationError):
        Settings.from_env({"SKERRY_PORT_RANGE": text})


def test_prices_and_limits_from_the_environment() -> None:
    plain = Settings.from_env({})
    assert (plain.requests_per_minute, str(plain.dispersed.cpu_hour)) == (600, "0.020000 USD")
    given = {
        "SKERRY_REQUESTS_PER_MINUTE": "off",
        "SKERRY_DISPERSED_CPU_HOUR": "0.05",
        "SKERRY_DISPERSED_REGION": "eu-central-1",
    }
    found = Settings.from_env(given)
    assert (found.requests_per_minute, str(found.dispersed.cpu_hour)) == (None, "0.050000 USD")
    assert found.dispersed.region == "eu-central-1"
    assert Settings.from_env({"SKERRY_REQUESTS_PER_MINUTE": "7"}).requests_per_minute == 7


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("SKERRY_PORT", "x"),
        ("SKERRY_REQUESTS_PER_MINUTE", "many"),
        ("SKERRY_DISPERSED_CPU_HOUR", "1e-9"),
        ("SKERRY_DISPERSED_CPU_HOUR", "-1"),
    ],
)
def test_an_unreadable_variable_is_named(variable: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        Settings.from_env({variable: text})


def test_a_number_is_asked_for_in_words() -> None:
    with pytest.raises(ConfigurationError, match="a whole number"):
        Settings.from_env({"SKERRY_DC1_SLOTS": "many"})


def test_octaspace_from_the_environment() -> None:
    env = {
        "SKERRY_OCTASPACE_NODES": "2",
        "SKERRY_OCTASPACE_MARKET_PRICE": "0.25",
        "SKERRY_OCTASPACE_BASE": "0.05",
        "SKERRY_OCTASPACE_IDLE_LIMIT": "900",
        "SKERRY_OCTASPACE_CHARGE_AMOUNT": "number",
        "SKERRY_OCTASPACE_CITY": "Delft",
    }
    found = Settings.from_env(env, data_dir=Path("here")).octaspace
    assert (found.nodes, found.idle_limit, found.charge_amount, found.city) == (2, 900.0, "number", "Delft")
    assert (found.market_price, found.base) == (Money(250_000, "USD"), Money(5 * 10**16, "OCTA"))
    assert Settings.from_env({}, data_dir=Path("here")).octaspace == OctaSpace()
    given = OctaSpace(nodes=3)
    assert Settings.from_env(env, data_dir=Path("here"), octaspace=given).octaspace is given


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("NODES", "0"),
        ("NODES", "many"),
        ("MARKET_PRICE", "0"),
        ("BASE", "-1"),
        ("TICK", "0"),
        ("CHARGE_AMOUNT", "roman"),
        ("FEE_PERMILLE", "1001"),
    ],
)
def test_octaspace_settings_that_make_no_sense(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError):
        Settings.from_env({f"SKERRY_OCTASPACE_{name}": text}, data_dir=Path("here"))
