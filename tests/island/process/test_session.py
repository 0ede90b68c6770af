"""A whole island on the driver of last resort: sessions begin at home, and know the paths that callers use."""

from __future__ import annotations

from skerry import Island


def test_sessions_files_and_forks() -> None:
    with Island(driver="process") as island, island.arker() as arker:
        vm = arker.vm("ubuntu").fork()
        assert vm.run('echo kept > x; mkdir sub; cd sub; test "$(dirname "$PWD")" = "$HOME"').exit_code == 0
        assert (
            vm.run("cat ../x /home/user/x; echo private > /tmp/note; cat /tmp/note").stdout == b"kept\nkept\nprivate\n"
        )
        vm.sync.write_file("/home/user/sent", "sent")
        assert vm.run("cat ~/sent").stdout == b"sent"
        child = vm.fork()
        assert child.run("cat ../x; echo changed > ../x").stdout == b"kept\n"
        assert vm.sync.read_file("/home/user/x") == b"kept\n"
        assert child.sync.read_file("/home/user/x") == b"changed\n"
