"""Sessions against real shells: what survives between commands, and that commands notice nothing of it."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from skerry.island.engine.shell import ShellState, invocation, quote, saved
from tests.island.engine.shells import BASH, DASH, Session, execute

BOTH = pytest.mark.parametrize("shell", [BASH, DASH], ids=["bash", "sh"])


@BOTH
def test_directory_and_exported_variables_survive(shell, tmp_path: Path) -> None:
    session = Session(shell)
    assert session(f"cd {tmp_path}; export A='x y'; umask 027").code == 0
    outcome = session('pwd; echo "$A"; umask')
    assert outcome.out == f"{tmp_path}\nx y\n0027\n"
    assert outcome.err == ""


@BOTH
@pytest.mark.parametrize(
    "command",
    [
        "true",
        "false",
        "exit 3",
        "exit 0",
        "(exit 4)",
        "set -e; false; echo never",
        "set -e; f() { false; }; f; echo never",
        "set -u; echo $unset_name; echo never",
        "echo ${unset_name?gone}",
        "if",
        "echo before\nfi",
        "nosuchprogram",
        "/",
        "exec true",
        "exec sh -c 'exit 6'",
        "exec nosuchprogram",
        "f() { exit 5; }; f",
        "trap 'echo bye' EXIT",
        "trap 'echo bye' EXIT; exit 7",
        "trap 'echo bye; exit 9' EXIT; false",
        "trap 'echo caught' USR1; kill -USR1 $$; echo on",
        "sleep 0 & wait; echo done",
        "echo one\necho two >&2\nexit 2",
        "cat",
        "",
        "# only a comment",
        "echo 'it'\\''s'",
        "set -- a b; echo $# $1",
        "echo $# $0",
        "exec 9>/dev/null; echo kept; exit 1",
        "exec 8</dev/null 9>/dev/null",
        "cat <<E\nhere\nE",
        "! true",
        "true && false || exit 8",
        "-x",
        "--help",
        "- word",
    ],
)
def test_a_command_ends_as_with_plain_c(shell, command: str) -> None:
    plain = subprocess.run([shell.path, "-c", "--", command, shell.kind], input=b"in\n", capture_output=True, cwd="/")
    outcome = execute(shell, ShellState(cwd="/", env={"PATH": "/usr/bin:/bin"}), command, stdin=b"in\n")
    assert (outcome.code, outcome.out) == (plain.returncode, plain.stdout.decode())
    if shell.kind == "bash" and b"syntax error" not in plain.stderr:
        assert outcome.err == plain.stderr.decode()
    else:
        assert bool(outcome.err) == bool(plain.stderr)


@BOTH
@pytest.mark.parametrize(
    "command", ["A=1; export A; exit 3", "export A=1; set -e; false", "export A=1\nif", "export A=1; set -u; echo $no"]
)
def test_state_survives_every_way_out(shell, command: str) -> None:
    session = Session(shell)
    session(command)
    session("set +e; set +u")
    assert session("echo $A").out == "1\n"


@BOTH
def test_a_child_that_is_killed_gives_128_and_the_signal(shell) -> None:
    assert Session(shell)("sh -c 'kill -9 $$'").code == 137


@BOTH
@pytest.mark.parametrize("command", ["export A=2; kill -9 $$", "export A=2; exec true"])
def test_a_command_that_is_killed_or_replaced_leaves_the_state_before_it(shell, command: str) -> None:
    session = Session(shell)
    session("export A=1")
    session(command)
    assert session("echo $A").out == "1\n"


@BOTH
def test_a_directory_that_is_gone_is_replaced_by_the_home(shell, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    session = Session(shell, home=str(home))
    session("mkdir gone; cd gone; export A=1")
    (home / "gone").rmdir()
    assert session("pwd; echo $A").out == f"{home}\n1\n"
    session("cd /; rmdir " + str(home))
    session.state = ShellState(str(home), session.state.env, session.state.script)
    assert session("pwd; echo $A").out == "/\n1\n"


@BOTH
def test_a_relative_or_strange_directory_name_survives(shell, tmp_path: Path) -> None:
    session = Session(shell, home=str(tmp_path))
    session('mkdir -- "-a b\'c\nd"; cd -- "-a b\'c\nd"')
    assert session("pwd").out == f"{tmp_path}/-a b'c\nd\n"


@BOTH
def test_children_see_none_of_our_descriptors(shell) -> None:
    session = Session(shell)
    session("export A=1")
    assert session("ls /proc/self/fd | tr '\\n' ' '").out == "0 1 2 3 "
    assert session("sh -c 'echo x >&9' 2>/dev/null; echo $?").out.strip() != "0"


@BOTH
def test_variables_for_one_run_do_not_stay(shell) -> None:
    session = Session(shell)
    session("export A=old")
    assert session("echo $A $B", overrides={"A": "new", "B": "1"}).out == "new 1\n"
    assert session("echo $A [$B]").out == "old []\n"
    session("A=changed; export A", overrides={"A": "new"})
    assert session("echo $A").out == "changed\n"


@BOTH
def test_what_the_driver_adds_is_not_kept(shell) -> None:
    session = Session(shell)
    assert session("echo $http_proxy", ambient={"http_proxy": "http://127.0.0.1:1"}).out == "http://127.0.0.1:1\n"
    assert session("echo $http_proxy", ambient={"http_proxy": "http://127.0.0.1:2"}).out == "http://127.0.0.1:2\n"
    assert session("echo [$http_proxy]").out == "[]\n"


def test_a_proxy_of_ones_own_is_kept() -> None:
    session = Session(BASH)
    session("export http_proxy=mine", ambient={"http_proxy": "theirs"})
    assert session("echo $http_proxy", ambient={"http_proxy": "theirs"}).out == "mine\n"


@BOTH
def test_unset_stays_unset(shell) -> None:
    session = Session(shell, env={"GONE": "1"})
    session("unset GONE HOME")
    assert session("echo [$GONE] [$HOME]").out == "[] []\n"
    assert "GONE" not in session.state.env


@BOTH
def test_a_spoiled_path_does_not_spoil_the_session(shell) -> None:
    session = Session(shell)
    session("export PATH=/nonexistent")
    assert session("echo $PATH").out == "/nonexistent\n"
    assert session("unset PATH").code == 0
    assert session("cd /tmp; export PATH=/usr/bin:/bin").code == 0
    assert session("ls / >/dev/null && pwd").out == "/tmp\n"


def test_bash_keeps_what_is_not_exported() -> None:
    session = Session(BASH)
    session(
        'plain=1; list=(a "b c" [5]=d); declare -A map=([k]="v w" ["x y"]=z); declare -i number=4;'
        "readonly fixed=9; declare -n link=list; declare -u loud; loud=abc; empty=; declare -a none=()"
    )
    outcome = session(
        'echo $plain "${list[1]}" ${!list[@]} "${map[k]}" "${map[x y]}"; number+=3; echo $number $loud "[$empty]";'
        'link[0]=changed; echo ${list[0]} ${#none[@]}; fixed=1; echo "still"'
    )
    assert outcome.out == "1 b c 0 1 5 v w z\n7 ABC []\nchanged 0\n"
    assert "readonly variable" in outcome.err
    assert session("echo $fixed").out == "9\n"


def test_bash_keeps_functions_aliases_and_options() -> None:
    session = Session(BASH)
    session(
        'greet() { echo "hello $1"; }; shared() { echo shared; }; export -f shared; alias ll=\'echo "l l"\';'
        "shopt -s extglob nullglob; set -o pipefail -o noglob"
    )
    outcome = session(
        "greet you; bash -c shared; ll; [[ aab == +(a)b ]] && echo yes; false | true || echo piped; echo *"
    )
    assert outcome.out == "hello you\nshared\nl l\nyes\npiped\n*\n"
    session("unset -f greet; unalias ll; set +o noglob")
    assert session("greet").code == 127
    assert session("ll").code == 127


def test_bash_keeps_shopt_both_ways() -> None:
    session = Session(BASH)
    usual = session("shopt").out
    session("shopt -s dotglob; shopt -u sourcepath progcomp")
    changed = session("shopt").out
    assert {line.split()[0] for line in set(usual.splitlines()) ^ set(changed.splitlines())} == {
        *("dotglob", "sourcepath", "progcomp"),
    }
    session("shopt -u dotglob; shopt -s sourcepath progcomp")
    assert session("shopt").out == usual
    assert "__skerry_shopt" not in session("declare -F").out


def test_bash_restores_what_an_older_release_saved() -> None:
    session = Session(BASH)
    old = b"declare -x A=1\nshopt -s extglob\nshopt -u sourcepath\numask 0077\n__skerry_opts=' -o pipefail'"
    session.state = replace(session.state, script=old)
    assert session("echo $A; umask; shopt extglob sourcepath | tr -s '\\t ' ' '; false | true || echo piped").out == (
        "1\n0077\nextglob on\nsourcepath off\npiped\n"
    )


def test_bash_saves_once_and_looks_for_no_program() -> None:
    session = Session(BASH)
    session('command_not_found_handle() { echo "there is no $1" >> "$LOOKED"; }')
    with tempfile.TemporaryDirectory() as folder:
        looked = Path(folder) / "looked"
        for command in ("true", "exit 3", "trap 'echo bye' EXIT; true", "IFS=_; true"):
            session(command, overrides={"LOOKED": str(looked)})
        assert not looked.exists()


def test_bash_writes_its_state_nowhere_else() -> None:
    outcome = Session(BASH)("exec 9>&1; echo out; exit 3")
    assert (outcome.code, outcome.out) == (3, "out\n")


def test_bash_alias_on_one_line_serves_the_next() -> None:
    assert Session(BASH)("alias hi='echo hi'\nhi").out == "hi\n"


def test_bash_errexit_and_nounset_stay() -> None:
    session = Session(BASH)
    session("set -eu")
    assert session("false; echo never").code == 1
    assert (
        session("echo $nothing; echo never").code
        == subprocess.run(["bash", "-c", "set -eu; echo $nothing"], capture_output=True).returncode
    )
    session("set +e; set +u")
    assert session("false; echo $nothing; echo on").out == "\non\n"


def test_bash_posix_mode_and_odd_separators_do_not_disturb_saving() -> None:
    session = Session(BASH)
    session("A=1; IFS=x; set -f; set -o posix; set -C; set -a; GLOBIGNORE=*")
    session("B=2")
    assert session('echo "$A$B"; env | grep ^B=').out == "12\nB=2\n"


def test_bash_overridden_builtins_do_not_disturb_saving() -> None:
    session = Session(BASH)
    session('A=1; echo() { builtin echo mine "$@"; }; cd() { builtin cd / && true; }; printf() { :; }; unset -f printf')
    assert session('echo "$A"').out == "mine 1\n"


def test_bash_tracing_shows_the_command_only() -> None:
    session = Session(BASH)
    first = session("set -x; echo traced")
    second = session("echo again")
    third = session("set +x; A=1")
    assert (first.out, first.err) == ("traced\n", "++ echo traced\n")
    assert (second.out, second.err) == ("again\n", "++ echo again\n")
    assert third.err == "++ set +x\n"
    assert session("echo $A").err == ""


def test_bash_traps_see_the_command_only() -> None:
    session = Session(BASH)
    assert session("trap 'echo debug' DEBUG; echo one").out == "debug\none\n"
    assert session("trap 'echo failed' ERR; false; true").out == "failed\n"
    assert session("f() { trap 'echo returned' RETURN; true; }; f; A=5").out == "returned\n"
    assert session("echo $A").out == "5\n"


def test_bash_exit_inside_a_function_keeps_globals_and_drops_locals() -> None:
    session = Session(BASH)
    session("x=global; y=keep")
    session("f() { local x=1 y z=2 IFS=,; g; }; g() { local x=in w=3; made=7; y=local; exit 6; }; f")
    assert session('echo $x $y [$z] [$w] $made; v="a,b"; set -- $v; echo $1').out == "global keep [] [] 7\na,b\n"


def test_bash_line_numbers_count_from_the_commands_first_line() -> None:
    outcome = Session(BASH)("echo $LINENO\n\necho $LINENO\nnosuchprogram")
    assert outcome.out == "1\n3\n"
    assert outcome.err == "bash: line 4: nosuchprogram: command not found\n"


def test_bash_a_subshell_does_not_save() -> None:
    session = Session(BASH)
    session("A=1; (A=2; cd /usr); A=$A$(A=3; echo +); { A=$A. ; }")
    assert session("echo $A; pwd").out == "1+.\n/\n"


def test_background_processes_outlive_the_shell_and_hold_nothing() -> None:
    session = Session(BASH)
    outcome = session("sleep 600 >/dev/null 2>&1 & echo $!; A=1")
    assert outcome.state.script
    subprocess.run(["kill", outcome.out.strip()], check=True)
    assert session("echo $A").out == "1\n"


def test_a_command_of_several_megabytes_runs() -> None:
    text = "A=" + "x" * (3 << 20) + "; echo ${#A}; unset A"
    assert Session(BASH)(text).out == f"{3 << 20}\n"


def test_a_state_that_was_cut_is_not_taken() -> None:
    session = Session(BASH)
    whole = session("A=1; f() { echo x; }").blob
    before = session.state
    for length in (0, 1, 20, len(whole) // 2, len(whole) - 1):
        assert saved(BASH, before, whole[:length]) is before
    assert saved(BASH, before, None) is before
    assert saved(BASH, before, b"rubbish\0" * 6) is before


def test_a_state_too_large_for_the_agent_is_not_taken() -> None:
    session = Session(BASH)
    session("A=1")
    before = session.state
    outcome = session(f"A=2; B=$(head -c {2 << 20} /dev/zero | tr '\\0' x)")
    assert len(outcome.blob) > 1 << 20
    assert saved(BASH, before, outcome.blob[: 1 << 20]) is before


@BOTH
def test_the_environment_of_a_session_is_known(shell) -> None:
    session = Session(shell)
    session("export A='two\nlines' B=; C=hidden")
    assert session.state.env["A"] == "two\nlines"
    assert session.state.env["B"] == ""
    assert "C" not in session.state.env


def test_quoting_carries_everything_but_nul() -> None:
    assert quote("it's") == b"'it'\\''s'"
    assert invocation(BASH, ShellState(), "x").argv[0] == "/bin/bash"
