"""What our scripts say on Blender's output: lines that begin with `skerry `, among many that are Blender's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

_MARK = b"skerry "
_LONGEST = 4096


async def said_lines(output: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, str]]:
    """First word and rest of each line that is meant for us; of longer lines than ours nothing is kept."""
    rest = b""
    async for chunk in output:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            found = parse(line)
            if found is not None:
                yield found
        # Whatever comes next still belongs to this line, which is none of ours.
        rest = rest if len(rest) <= _LONGEST else b"?" * _LONGEST
    found = parse(rest)
    if found is not None:
        yield found


def parse(line: bytes) -> tuple[str, str] | None:
    """One line; None for those of Blender's own.

    Example:
        >>> parse(b"skerry frame 7"), parse(b"Fra:7 Mem:9M")
        (('frame', '7'), None)
    """
    if not line.startswith(_MARK) or len(line) > _LONGEST:
        return None
    word, _, rest = line[len(_MARK) :].decode("utf-8", "replace").strip().partition(" ")
    return word, rest
