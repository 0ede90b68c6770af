"""Takes the place of the worker script: speaks its protocol, draws with zlib, and misbehaves when asked to.

A model's `wish` file says what loading does; a prompt says what drawing does.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import random
import struct
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any


def png(width: int, height: int, seed: int) -> bytes:
    dice = random.Random(seed)
    rows = b"".join(b"\0" + dice.randbytes(3 * width) for _ in range(height))

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tell(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def refuse(number: int | None, why: str, message: str) -> None:
    tell({"refused": {"id": number, "why": why, "message": message}})


def misbehave(wish: str) -> None:
    if wish == "die":
        print("something went badly wrong", file=sys.stderr, flush=True)
        os.abort()
    elif wish == "end":
        sys.exit(3)
    elif wish == "hang":
        time.sleep(600)
    elif wish == "garbage":
        print("Loading weights: 100%", flush=True)
    elif wish == "other json":
        tell({"picture": {"id": 99}})
    elif wish == "endless":
        while True:
            sys.stdout.write("x" * (1 << 20))
    elif wish == "eat":
        eaten = [b"x" * (8 << 20) for _ in range(1000)]
        print(len(eaten), file=sys.stderr)
    elif wish == "child":
        # What it starts keeps the pipes open, and must end with it.
        if (pid := os.fork()) == 0:
            time.sleep(600)
        (Path(json.loads(sys.argv[1])["folder"]) / "child").write_text(str(pid))
        os.abort()


def main() -> None:
    task = json.loads(sys.argv[1])
    orders: queue.Queue[dict[str, Any]] = queue.Queue()
    cancelled: set[int] = set()

    def listen() -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if "draw" in message:
                orders.put(message["draw"])
            else:
                cancelled.add(message["cancel"])
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    if "hub" in task:
        refuse(None, "no_hub", "the hub cannot be reached (nobody is there)")
        sys.exit(1)
    folder = Path(task["folder"])
    (folder / "pid").write_text(str(os.getpid()))
    (folder / "environment").write_text(json.dumps(dict(os.environ)))
    wish = (folder / "wish").read_text() if (folder / "wish").exists() else ""
    misbehave(wish)
    if wish.startswith("refuse "):
        refuse(None, wish.removeprefix("refuse "), "it is what it is")
        sys.exit(1)
    tell({"loaded": {"device": "cpu", "pipeline": "StandIn"}})
    while True:
        order = orders.get()
        number, prompt = order["id"], order["prompt"]
        tell({"phase": "generating"})
        misbehave(prompt)
        if prompt.startswith("refuse "):
            refuse(number, prompt.removeprefix("refuse "), "it is what it is")
            continue
        if prompt == "slow":
            while number not in cancelled:
                time.sleep(0.005)
            refuse(number, "cancelled", "it was cancelled")
            continue
        tell({"phase": "formatting"})
        drawn = b"GIF89a" if prompt == "no png" else png(order["width"], order["height"], order["seed"])
        picture = {"png": base64.b64encode(drawn).decode(), "width": order["width"], "height": order["height"]}
        tell({"picture": {"id": number, **picture, "seconds": 0.5, "withheld": prompt == "naked"}})


if __name__ == "__main__":
    main()
