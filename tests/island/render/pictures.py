"""Reading the PNG files that Blender writes, enough to compare two of them."""

from __future__ import annotations

import struct
import zlib


def pixels(png: bytes) -> tuple[int, int, list[int]]:
    """Width, height and samples of an 8-bit picture without interlacing."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    place, data = 8, b""
    width = height = channels = 0
    while place < len(png):
        length, kind = struct.unpack(">I4s", png[place : place + 8])
        body = png[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
            assert (depth, interlaced) == (8, 0)
            channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
        elif kind == b"IDAT":
            data += body
        place += 12 + length
    raw = zlib.decompress(data)
    stride = width * channels
    above, found = [0] * stride, []
    for row in range(height):
        kind, line = raw[row * (stride + 1)], raw[row * (stride + 1) + 1 : (row + 1) * (stride + 1)]
        here: list[int] = []
        for index, value in enumerate(line):
            left = here[index - channels] if index >= channels else 0
            corner = above[index - channels] if index >= channels else 0
            here.append((value + _predicted(kind, left, above[index], corner)) & 255)
        found += here
        above = here
    return width, height, found


def difference(one: bytes, other: bytes) -> float:
    """The mean difference of two pictures' samples, 0 to 255."""
    width, height, samples = pixels(one)
    assert pixels(other)[:2] == (width, height)
    others = pixels(other)[2]
    assert len(samples) == len(others)
    return sum(abs(a - b) for a, b in zip(samples, others, strict=True)) / len(samples)


def _predicted(kind: int, left: int, above: int, corner: int) -> int:
    if kind == 3:
        return (left + above) // 2
    if kind == 4:
        guess = left + above - corner
        return min((left, above, corner), key=lambda value: abs(guess - value))
    return {0: 0, 1: left, 2: above}[kind]
