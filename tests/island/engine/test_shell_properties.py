"""Whatever bytes a variable holds, the next command finds them."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.island.engine.declarations import parse_declarations
from skerry.island.engine.shell import quote
from tests.island.engine.shells import BASH, DASH, Session

# Every byte but NUL; with a lean towards what shells care about.
ODD = st.lists(
    st.one_of(
        st.sampled_from(
            [b"'", b'"', b"\\", b"\n", b"$", b"`", b"!", b"\t", b"\x1b", b"\x7f", b"\xff", b"\xc3\xa9", b" ", b"]"]
        ),
        st.integers(1, 255).map(lambda code: bytes([code])),
    ),
    max_size=30,
).map(b"".join)
# A shell takes as long to start for many values as for one.
MANY = st.lists(ODD, min_size=1, max_size=12)
SLOW = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))


def text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def run(session: Session, script: bytes):
    return session(script.decode(errors="surrogateescape"))


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
@SLOW
@given(values=MANY)
def test_bash_scalars(locale: str, values: list[bytes]) -> None:
    session = Session(BASH, env={"LANG": locale})
    named = [(b"%d" % index, quote(value)) for index, value in enumerate(values)]
    run(session, b"\n".join(b"plain%s=%s; export shown%s=%s" % (n, value, n, value) for n, value in named))
    for index, value in enumerate(values):
        assert session.state.env[f"shown{index}"] == text(value)
    full = b"\n".join(b"[[ $plain%s == %s && $shown%s == %s ]] || exit 1" % (n, v, n, v) for n, v in named)
    short = b"\n".join(b'[ "$plain%s" = %s ] && [ "$shown%s" = %s ] || exit 2' % (n, v, n, v) for n, v in named)
    for _ in range(2):
        outcome = run(session, full + b"\nA=$((A+1))")
        assert session("echo same").out == "same\n"
        assert run(session, short).code == 0
        assert outcome.code == 0


@SLOW
@given(values=MANY, keys=st.lists(ODD.filter(bool), min_size=1, max_size=12, unique=True))
def test_bash_arrays(values: list[bytes], keys: list[bytes]) -> None:
    session = Session(BASH)
    items = b" ".join(map(quote, values))
    script = b"list=(" + items + b"); declare -A map; "
    script += b"; ".join(b"k=" + quote(key) + b"; map[$k]=" + quote(key) for key in keys)
    assert run(session, script).code == 0
    session("true")
    check = b"".join(
        b"[[ ${list[%d]} == %s ]] || exit 1\n" % (index, quote(value)) for index, value in enumerate(values)
    )
    check += b"".join(b"k=" + quote(key) + b"; [[ ${map[$k]} == " + quote(key) + b" ]] || exit 2\n" for key in keys)
    check += b"echo ${#list[@]} ${#map[@]}"
    outcome = run(session, check)
    assert (outcome.code, outcome.out) == (0, f"{len(values)} {len(keys)}\n")


@SLOW
@given(values=MANY)
def test_sh_exported(values: list[bytes]) -> None:
    session = Session(DASH)
    named = [(b"%d" % index, quote(value)) for index, value in enumerate(values)]
    run(session, b"\n".join(b"export shown%s=%s" % pair for pair in named))
    for index, value in enumerate(values):
        assert session.state.env[f"shown{index}"] == text(value)
    assert run(session, b"\n".join(b'[ "$shown%s" = %s ] || exit 1' % pair for pair in named)).code == 0


@SLOW
@given(names=st.dictionaries(st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True), ODD, max_size=12))
def test_many_names(names: dict[str, bytes]) -> None:
    # Names with a meaning of their own to the shell are another matter.
    chosen = {f"v_{name}": value for name, value in names.items()}
    session = Session(BASH)
    run(session, b"\n".join(name.encode() + b"=" + quote(value) for name, value in chosen.items()) or b":")
    session("true")
    check = b"\n".join(
        b"[[ $" + name.encode() + b" == " + quote(value) + b" ]] || exit 1" for name, value in chosen.items()
    )
    assert run(session, check or b":").code == 0


@given(junk=st.binary(max_size=200))
def test_reading_declarations_never_fails_badly(junk: bytes) -> None:
    found = parse_declarations(junk)
    assert found is None or all(re.fullmatch(r"\w+", name) for name in found)
