"""Image names are read as Docker reads them."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from skerry.island.engine.errors import Invalid
from skerry.island.images.reference import Reference, parse_reference

D = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
        ("ubuntu:24.04", "docker.io/library/ubuntu:24.04", "ubuntu:24.04"),
        ("team/tool", "docker.io/team/tool:latest", "team/tool:latest"),
        ("docker.io/ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
        ("index.docker.io/library/ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
        ("library/deep/path", "docker.io/library/deep/path:latest", "library/deep/path:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("localhost:5000/x:1", "localhost:5000/x:1", "localhost:5000/x:1"),
        ("host:5000/a/b/c", "host:5000/a/b/c:latest", "host:5000/a/b/c:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        ("Registry.Example.com/x", "registry.example.com/x:latest", "registry.example.com/x:latest"),
        (f"ubuntu@{D}", f"docker.io/library/ubuntu@{D}", f"ubuntu@{D}"),
        (f"ubuntu:24.04@{D}", f"docker.io/library/ubuntu@{D}", f"ubuntu@{D}"),
        ("a__b--c.d_e", "docker.io/library/a__b--c.d_e:latest", "a__b--c.d_e:latest"),
    ],
)
def test_spellings(text: str, canonical: str, familiar: str) -> None:
    reference = parse_reference(text)
    assert reference.canonical == canonical
    assert reference.familiar == familiar


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Ubuntu",
        "ubuntu:",
        ":1",
        "a//b",
        "/a",
        "a/",
        "a..b",
        "-a",
        "a-",
        "a b",
        "../x",
        "x:" + "t" * 129,
        "ubuntu@sha256:abc",
        "ubuntu@md5:" + "0" * 32,
        "http://x/y",
        "x.y:99:1/z",
        "a" * 260,
        "exa_mple.com/x",
        "ü",
        "a\n",
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(Invalid):
        parse_reference(text)


component = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
registries = st.one_of(
    st.none(),
    st.just("localhost"),
    st.from_regex(r"[a-z][a-z0-9]{0,8}\.[a-z]{2,5}(:[0-9]{1,5})?", fullmatch=True),
    st.from_regex(r"[a-z]{1,8}:[0-9]{1,5}", fullmatch=True),
)
host = re.compile(r"[a-z0-9]+(-+[a-z0-9]+)*(\.[a-z0-9]+(-+[a-z0-9]+)*)*")
tags = st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}", fullmatch=True)
digests = st.none() | st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)


@given(registries, st.lists(component, min_size=1, max_size=4), tags, digests)
@example(None, ["a.b-c", "d"], None, None)
def test_every_name_survives_both_spellings(
    registry: str | None, components: list[str], tag: str | None, digest: str | None
) -> None:
    # In front of a slash a dot makes a registry of a component, and no host has an underscore.
    assume(registry or len(components) == 1 or "." not in components[0] or host.fullmatch(components[0]))
    text = "/".join(([registry] if registry else []) + components)
    text += (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    reference = parse_reference(text)
    for spelling in (reference.canonical, reference.familiar):
        again = parse_reference(spelling)
        assert again.canonical == reference.canonical
        assert again.familiar == reference.familiar
    assert reference.selector == (digest or tag or "latest")


@given(st.text(max_size=60))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        reference = parse_reference(text)
    except Invalid:
        return
    assert isinstance(reference, Reference)
    assert parse_reference(reference.canonical).canonical == reference.canonical
    assert ".." not in reference.repository.split("/")
