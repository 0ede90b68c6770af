"""Settings from the environment, where they say more than a text."""

from __future__ import annotations

import pytest

from skerry.errors import ConfigurationError
from skerry.island.settings import Settings


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
