"""How a session's shell is built for one run, and how its state is read back; pure.

A run executes `bash -c PRELUDE` (or `sh -c`). Descriptor 8 brings a script that restores the session and holds the
command; the command is evaluated at the top level of that shell, so it behaves as with `bash -c`; when the shell ends
in any way but `exec` or a signal, the prelude writes the state to descriptor 9, which the command itself never sees;
bash knows it by its sticky bit, since a command may have put something else there, and begins to write there before the
command: until then, nothing of the run has happened.
bash keeps variables (exported or not, arrays, attributes), functions, aliases, options and the working directory;
plain sh keeps exported variables, file mode mask and working directory. A command that replaces the EXIT trap and
leaves by `exit` leaves the state as it was before it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from skerry.island.engine.declarations import parse_declarations

HOME = "/home/user"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MAGIC = b"skerry-state/1"
_END = b"end"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOCALE = ("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE")
# Given to every command by the driver and bound to this life of the sandbox: never kept in a session unless changed.
_TRANSIENT = (
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
)

# What bash itself sets anew, and what is ours.
_OWN = re.compile(
    r"__skerry_\w+|BASH(?!_ENV$)\w*|COMP_\w+|DIRSTACK|EPOCH\w+|EUID|FUNCNAME|GROUPS|HISTCMD|HOSTNAME|HOSTTYPE|LINENO|"
    r"MACHTYPE|OSTYPE|PIPESTATUS|PPID|PWD|RANDOM|SECONDS|SHELLOPTS|SHLVL|SRANDOM|UID|_"
)
_KEPT_OPTIONS = (
    "allexport",
    "errexit",
    "errtrace",
    "functrace",
    "ignoreeof",
    "keyword",
    "monitor",
    "noclobber",
    "noglob",
    "nounset",
    "physical",
    "pipefail",
    "posix",
)
# As a shell that was just started has them.
_AS_STARTED = {
    "IFS": rb"declare -- IFS=$' \t\n'",
    "OPTERR": b'declare -- OPTERR="1"',
    "OPTIND": b'declare -i OPTIND="1"',
    "PS4": b'declare -- PS4="+ "',
}
_USUAL_OPTIONS = ("braceexpand", "hashall", "interactive-comments")

ShellKind = Literal["bash", "sh"]


@dataclass(frozen=True, slots=True)
class Shell:
    """A shell of an image: which dialect, and its absolute path inside."""

    kind: ShellKind
    path: str


@dataclass(frozen=True, slots=True)
class ShellState:
    """What a session is between runs.

    Args:
        cwd: working directory, as the shell names it.
        env: exported variables; undecodable bytes are surrogate escapes.
        script: shell commands that restore the rest; empty for a session that has not run yet.
    """

    cwd: str = HOME
    env: dict[str, str] = field(default_factory=dict)
    script: bytes = b""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What to execute: arguments, environment, the bytes for descriptor 8, and whether it may start before these come.

    A plain sh reads them through a child, which would wait beside it, so only bash is started ahead.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    state: bytes
    warm: bool


def default_env(home: str = HOME) -> dict[str, str]:
    """The environment that a new session starts with."""
    return {
        "PATH": DEFAULT_PATH,
        "HOME": home,
        "USER": "root",
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
    }


def is_name(text: str) -> bool:
    """Whether this can be the name of a shell variable."""
    return _NAME.fullmatch(text) is not None


def quote(text: str | bytes) -> bytes:
    """Text in single quotes, safe in any POSIX shell; carries every byte but NUL."""
    raw = text if isinstance(text, bytes) else text.encode(errors="surrogateescape")
    return b"'" + raw.replace(b"'", b"'\\''") + b"'"


def invocation(
    shell: Shell, state: ShellState, command: str, *, home: str = HOME, overrides: Mapping[str, str] | None = None
) -> Invocation:
    """Build the run of `command` in a session.

    Args:
        shell: which shell.
        state: the session.
        command: text as for `bash -c`; no NUL.
        home: where to begin when the working directory is gone.
        overrides: variables for this run only; the session keeps its own unless the command changes them.
    """
    extra = overrides or {}
    lines = [b"cd -- %s || cd -- %s || cd /" % (quote(state.cwd), quote(home))]
    env = {name: value for name in _LOCALE if (value := state.env.get(name, extra.get(name))) is not None}
    if shell.kind == "bash":
        prelude = _BASH
        lines.append(state.script or _exports(state.env))
    else:
        prelude = _SH
        env = {**env, "PATH": DEFAULT_PATH}
        lines.append(state.script)
        if "PATH" not in state.env:
            lines.append(b"unset PATH")
        lines.append(_exports(state.env))
    if extra:
        lines.append(_exports(extra))
    lines.append(b"__skerry_command=" + quote(command))
    return Invocation(
        (shell.path, "-c", prelude, shell.kind), env, b"\n".join(lines) + b"\n", warm=shell.kind == "bash"
    )


def saved(
    shell: Shell, before: ShellState, blob: bytes | None, overrides: Mapping[str, str] | None = None
) -> ShellState:
    """The session after a run, from what came through descriptor 9; `before` when that is missing or incomplete."""
    fields = (blob or b"").split(b"\0")
    if len(fields) != 7 or fields[0] != _MAGIC or fields[5] != _END:
        return before
    cwd = fields[1].decode(errors="surrogateescape")
    if not cwd.startswith("/"):
        cwd = before.cwd
    build = _saved_bash if shell.kind == "bash" else _saved_sh
    found = build(before, fields[2], fields[3], fields[4], overrides or {})
    return before if found is None else ShellState(cwd, *found)


def _saved_bash(
    before: ShellState, options: bytes, variables: bytes, rest: bytes, overrides: Mapping[str, str]
) -> tuple[dict[str, str], bytes] | None:
    declarations = parse_declarations(variables)
    if declarations is None:
        return None
    ambient = declarations.pop("__skerry_env", None)
    given = {**({} if ambient is None else ambient.elements()), **overrides}
    env: dict[str, str] = {}
    lines: list[bytes] = []
    exports: list[bytes] = []
    for name, declaration in declarations.items():
        if _OWN.fullmatch(name):
            continue
        scalar = declaration.scalar()
        if scalar is not None and name in given and scalar == given[name]:
            if name in overrides and name in before.env:
                env[name] = before.env[name]
                lines.append(b"export %s=%s" % (name.encode(), quote(before.env[name])))
            continue
        if scalar is not None and "x" in declaration.flags:
            env[name] = scalar
        # A shell sets its locale anew, at some cost, even to what it is; this one is started with it.
        if (name in _LOCALE and declaration.flags == "x") or declaration.source == _AS_STARTED.get(name):
            continue
        if declaration.flags == "x" and scalar is not None:
            exports.append(declaration.source.removeprefix(b"declare -x "))
        else:
            lines.append(declaration.source)
    on = set(options.decode(errors="replace").split(":"))
    switches = [f"-o {name}" for name in _KEPT_OPTIONS if name in on]
    switches += [f"+o {name}" for name in _USUAL_OPTIONS if name not in on]
    # Tracing comes last, so that no other switch is traced.
    switches += [f"-o {name}" for name in ("verbose", "xtrace") if name in on]
    opts = f"__skerry_opts='{''.join(' ' + switch for switch in switches)}'".encode()
    if exports:
        lines.append(b"declare -x " + b" ".join(exports))
    return env, b"\n".join([*lines, rest.rstrip(b"\n"), opts])


def _saved_sh(
    before: ShellState, mask: bytes, exports: bytes, _: bytes, overrides: Mapping[str, str]
) -> tuple[dict[str, str], bytes] | None:
    exported = _parse_exports(exports.decode(errors="surrogateescape"))
    if exported is None or not mask.strip().isdigit():
        return None
    for name, value in overrides.items():
        if exported.get(name) == value:
            if name in before.env:
                exported[name] = before.env[name]
            else:
                del exported[name]
    return exported, b"umask " + mask.strip()


def _exports(env: Mapping[str, str]) -> bytes:
    return b"\n".join(b"export %s=%s" % (name.encode(), quote(value)) for name, value in env.items() if is_name(name))


def _parse_exports(text: str) -> dict[str, str] | None:
    """Exported variables from `export -p` of a POSIX shell, without those that belong to the sandbox's life."""
    try:
        words = shlex.split(text)
    except ValueError:
        return None
    found: dict[str, str] = {}
    for position, word in enumerate(words[:-1]):
        name, equals, value = words[position + 1].partition("=")
        if word == "export" and equals and is_name(name) and name not in (*_TRANSIENT, "PWD", "OLDPWD", "SHLVL"):
            found.setdefault(name, value)
    return found


def _one_line(script: str) -> str:
    """A script as one line, so that line numbers in messages count from the command's first line."""
    return " ".join(line.strip() for line in script.strip().splitlines())


_VARIABLES = " ".join(f'"${{!{letter}@}}"' for letter in "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

_BASH = _one_line(
    r"""
    __skerry_locals() {
      local __skerry_i;
      for __skerry_n in @VARIABLES@; do
        case $__skerry_n in BASH*|FUNCNAME|__skerry_*|_) continue;; esac;
        [[ ! -R $__skerry_n ]] || continue;
        declare -gt "$__skerry_n" || continue;
        for __skerry_i in 1 2 3 4 5 6 7 8 9; do
          [[ -v $__skerry_n || -v $__skerry_n[@] ]] || break;
          case ${!__skerry_n@a} in *t*) break;; esac;
          unset -v "$__skerry_n" || break;
        done;
        declare -g +t "$__skerry_n";
      done;
    };
    __skerry_save() {
      [[ $BASHPID == "$$" && -z $__skerry_done ]] || return 0;
      __skerry_done=:;
      if [[ -k /dev/fd/9 ]]; then __skerry_fd=9; elif [[ -k /dev/fd/10 ]]; then __skerry_fd=10; else return 0; fi;
      set -- "$SHELLOPTS";
      set +e +u +f +x +v +C +a +E +T +o posix +o pipefail;
      trap - DEBUG ERR RETURN;
      if (( ${#FUNCNAME[@]} > 1 )) && [[ ${FUNCNAME[1]} != __skerry_finish ]]; then __skerry_locals; fi;
      unset -f __skerry_locals __skerry_save __skerry_finish;
      unset -v BASHPID EPOCHREALTIME EPOCHSECONDS HISTCMD LINENO RANDOM SECONDS SRANDOM PIPESTATUS
        __skerry_command;
      {
        printf '%s\0%s\0' "$PWD" "$1";
        declare -p; printf '\0';
        printf '__skerry_shopt %s\n' "$BASHOPTS"; shopt -u extdebug;
        declare -f; declare -Fx;
        umask -p; alias -p;
        printf '\0end\0';
      } >&"$__skerry_fd";
    };
    __skerry_finish() {
      local __skerry_code=$?;
      __skerry_save;
      return "$__skerry_code";
    };
    __skerry_shopt() {
      [[ $1 != "$BASHOPTS" ]] || return 0;
      local -a __skerry_n;
      IFS=: read -r -a __skerry_n <<< "$BASHOPTS";
      shopt -u "${__skerry_n[@]}";
      IFS=: read -r -a __skerry_n <<< "$1";
      shopt -s "${__skerry_n[@]}";
    };
    declare -A __skerry_env=();
    __skerry_opts=; __skerry_done=:;
    for __skerry_n in @TRANSIENT@; do
      [[ -v $__skerry_n ]] && __skerry_env[$__skerry_n]=${!__skerry_n};
    done;
    unset -v __skerry_n BASH_EXECUTION_STRING;
    shopt -s expand_aliases;
    trap '{ [[ -n $__skerry_done ]] || __skerry_save; } >/dev/null 2>&1' EXIT;
    if [[ -k /dev/fd/9 ]]; then
      { . /dev/fd/8 >/dev/null; printf 'skerry-state/1\0'; } >&9 2>/dev/null;
    else
      . /dev/fd/8 >/dev/null 2>&1;
    fi;
    [[ -v __skerry_command ]] || {
      IFS= LC_ALL=C read -r -N 16777216 -u 8 __skerry_command;
      eval "$__skerry_command" >/dev/null 2>&1;
    };
    exec 8<&-;
    unset -f __skerry_shopt;
    SECONDS=0; __skerry_done=;
    eval -- "${__skerry_opts:+set$__skerry_opts;}$__skerry_command" 9>&-;
    { __skerry_finish; } >/dev/null 2>&1
    """.replace("@VARIABLES@", _VARIABLES).replace("@TRANSIENT@", " ".join(_TRANSIENT))
)

_SH = _one_line(
    r"""
    __skerry_save() {
      [ -z "$__skerry_done" ] || return 0;
      __skerry_done=1;
      set +e +u +f +x +v +C +a;
      { printf 'skerry-state/1\0%s\0' "$PWD"; umask; printf '\0'; export -p; printf '\0\0end\0'; } >&9;
    };
    __skerry_finish() { __skerry_code=$?; __skerry_save; return "$__skerry_code"; };
    __skerry_done=;
    eval "$(cat <&8)" >/dev/null 2>&1;
    exec 8<&-;
    trap '{ __skerry_save; } >/dev/null 2>&1' EXIT;
    eval " $__skerry_command" 9>&-;
    { __skerry_finish; } >/dev/null 2>&1
    """
)
