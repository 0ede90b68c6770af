"""An island as an object."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from skerry.errors import ConfigurationError
from skerry.island import Island, Settings, libraries
from skerry.island.environment import SETTINGS


def test_it_is_gone_when_the_block_ends() -> None:
    before = threading.active_count()
    with Island() as island:
        home = island.data_dir
        assert home.exists()
        assert island.running
        assert set(island.env()) == {setting.variable for setting in SETTINGS}
        assert island.base_url("arker") == f"{island.url}/arker"
        with pytest.raises(ConfigurationError, match="no key for 'nothing'"):
            island.key("nothing")
    assert not home.exists()
    assert not island.running
    assert threading.active_count() <= before
    with pytest.raises(ConfigurationError, match="not running"):
        _ = island.url


def test_clients_of_a_network_are_made_where_the_island_has_its_keys(tmp_path: Path) -> None:
    with Island(tmp_path / "mine") as island:
        file = island.data_dir / "credentials.json"
        kept = json.loads(file.read_text())
        with island.octaspace(retries=0) as octa:
            assert octa.base_url == island.base_url("octaspace")
        others = {name: key for name, key in kept["keys"].items() if name == "arker"}
        file.write_text(json.dumps({**kept, "keys": others}))
        for name in set(kept["keys"]) - set(others):
            del island.engine.credentials[name]
        for client in (island.dispersed, island.octaspace):
            with pytest.raises(ConfigurationError, match=r"no keys for '\w+'; it speaks arker"):
                client()
        pair = {"dispersed": "pk_of_a_face", "dispersed_secret": "sk_of_a_face"}
        file.write_text(json.dumps({**kept, "keys": {**kept["keys"], **pair}}))
        variables = {
            "DISPERSED_PUBLIC_KEY": pair["dispersed"],
            "DISPERSED_SECRET_KEY": "sk_of_a_face",
            "DISPERSED_API_BASE_URL": f"{island.url}/dispersed",
        }
        assert island.env().items() >= variables.items()
        assert island.key("dispersed") == "pk_of_a_face"
        with island.dispersed(retry=0) as client:
            assert (client.public_key, client.base_url, client.retry) == (
                pair["dispersed"],
                island.base_url("dispersed"),
                0,
            )


def test_a_given_directory_stays(tmp_path: Path) -> None:
    with Island(tmp_path / "mine") as island:
        key = island.key("arker")
        with island.arker() as arker:
            vm = arker.vm("ubuntu").fork(name="kept").id
    with Island(tmp_path / "mine") as island:
        assert island.key("arker") == key
        with island.arker() as arker:
            assert arker.get(vm).name == "kept"
            arker.vm(vm).delete()


def test_several_live_side_by_side() -> None:
    with Island() as one, Island() as two, Island() as three:
        keys = {island.key("arker") for island in (one, two, three)}
        assert len(keys) == 3
        for island in (one, two, three):
            with island.arker() as arker:
                assert arker.vm("ubuntu").fork().run("echo hi").stdout == b"hi\n"
                assert len(arker.list()) == 1


@pytest.mark.anyio
async def test_it_is_an_asynchronous_context_manager_too() -> None:
    async with Island() as island, island.async_arker() as arker:
        vm = await arker.vm("ubuntu").fork()
        assert (await vm.run("echo hi")).stdout == b"hi\n"


def test_reset_empties_it_and_keeps_keys_and_port() -> None:
    with Island() as island, island.arker() as arker:
        vm = arker.vm("ubuntu").fork()
        vm.run("sleep 600", background=True)
        url, key = island.url, island.key("arker")
        island.reset()
        assert len(arker.list()) == 0
        assert (island.url, island.key("arker")) == (url, key)
        assert arker.vm("ubuntu").fork().run("echo again").stdout == b"again\n"


def test_a_killed_island_is_found_again_or_cleared_away() -> None:
    island = Island().start()
    try:
        with island.arker() as arker:
            vm = arker.vm("ubuntu").fork()
            run = vm.run("until [ -e go ]; do sleep 0.02; done; echo done", background=True)
            url = island.url
            island.kill()
            assert not island.running
            island.start()
            assert island.url == url
            vm.sync.write_file("/home/user/go", b"")
            assert vm.wait(run.run_id, timeout=60).stdout_bytes == b"done\n"
            vm.run("sleep 600", background=True)
        island.kill()
    finally:
        home = island.data_dir
        island.stop()
    assert not home.exists()


def test_two_may_not_share_a_directory(tmp_path: Path) -> None:
    with Island(tmp_path), pytest.raises(ConfigurationError, match="another island"):
        Island(tmp_path).start()


def test_bad_settings_leave_nothing_behind() -> None:
    before = threading.active_count()
    with pytest.raises(ConfigurationError, match="allow_remote"):
        Island(host="0.0.0.0").start()
    assert threading.active_count() <= before


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "LIBRARIES", ("starlette", "no_such_library"))
    with pytest.raises(ConfigurationError, match=r"needs no_such_library; get it: pip install 'skerry\[island\]'"):
        Island().start()


def test_settings_are_reachable_beside_it() -> None:
    with Island(drain=1.0, idle_suspend=5.0) as island:
        settings = island.engine.settings
        assert isinstance(settings, Settings)
        assert (settings.drain, settings.idle_suspend) == (1.0, 5.0)
