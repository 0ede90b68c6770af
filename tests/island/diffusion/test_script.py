"""The worker script itself, as far as it needs no diffusers: its end with the island, and what it refuses to load."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from skerry.island.workers.image import worker_script
from skerry.island.workers.image.demo_script import vocabulary
from tests.island.diffusion.diffusion_lab import PATIENCE, add_model, read_pid, running, until

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]


async def test_a_process_ends_when_its_island_is_killed(tmp_path: Path) -> None:
    folder = add_model(tmp_path, "org/model")
    command = [sys.executable, "-m", "tests.island.diffusion.orphan_script", str(tmp_path), "slow"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as island:
        assert island.stdout is not None
        for line in island.stdout:
            if line == "generating\n":
                break
        pid = read_pid(folder)
        assert running(pid)
        island.kill()
    await until(lambda: not running(pid))


HOLDER = """
import subprocess, sys
# Its stdin stays open whatever becomes of us, as when another process has a copy of it.
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""
DOOMED = """
import os, sys, time
sys.path.insert(0, DIRECTORY)
import worker_script
worker_script.die_with(os.getppid())
print("ready", flush=True)
time.sleep(600)
"""


async def test_the_end_of_the_island_needs_no_closed_pipe() -> None:
    directory = str(Path(worker_script.__file__).parent)
    doomed = DOOMED.replace("DIRECTORY", repr(directory))
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, doomed], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        assert running(pid)
        os.kill(holder.pid, signal.SIGKILL)
    await until(lambda: not running(pid))


def test_a_script_whose_island_has_gone_does_not_begin() -> None:
    script = Path(worker_script.__file__)
    done = subprocess.run(
        [sys.executable, "-I", str(script), json.dumps({"parent": 1, "folder": "/"})],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "the island has gone" in done.stderr


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


INDEX = json.dumps({"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]})


def test_only_safetensors_are_loaded(tmp_path: Path) -> None:
    both = write(tmp_path / "both", model_index_dot_json=INDEX, unet__w_dot_bin="", unet__w_dot_safetensors="")
    assert worker_script.check_folder(both)["unet"] == ["diffusers", "UNet2DConditionModel"]
    # What the index does not name is not loaded, so that it may be anything.
    other = write(tmp_path / "other", model_index_dot_json=INDEX, unet__config_dot_json="", extra__w_dot_bin="")
    worker_script.check_folder(other)
    for ending in ("bin", "ckpt", "pt", "pth", "pkl"):
        pickled = write(tmp_path / ending, model_index_dot_json=INDEX, **{f"unet__w_dot_{ending}": ""})
        with pytest.raises(worker_script.Refused, match=r"its unet has weights as pickles alone.*only \.safetensors"):
            worker_script.check_folder(pickled)


@pytest.mark.parametrize(("text", "words"), [("{", "cannot be read"), ("[]", "is no object")])
def test_a_broken_index_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(worker_script.Refused, match=words):
        worker_script.check_folder(write(tmp_path, model_index_dot_json=text))


@pytest.mark.parametrize(
    ("names", "variant"),
    [
        (["unet/a.safetensors", "vae/b.safetensors"], None),
        (["unet/a.fp16.safetensors", "vae/b.fp16.safetensors", "whole.safetensors"], "fp16"),
        (["unet/a.fp16.safetensors", "unet/a.safetensors"], None),
        ([], None),
    ],
)
def test_half_precision_is_taken_where_there_is_nothing_else(names: list[str], variant: str | None) -> None:
    assert worker_script.variant_of(iter(names)) == variant


@pytest.mark.parametrize(
    ("error", "why", "words"),
    [
        (MemoryError(), "out_of_memory", "does not fit"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory", "you tried"),
        (ValueError("`height` has to be divisible by 8"), "invalid", "divisible"),
        (RuntimeError("shape mismatch"), "failed", "RuntimeError: shape mismatch"),
    ],
)
def test_errors_become_refusals(error: Exception, why: str, words: str) -> None:
    with pytest.raises(worker_script.Refused, match=words) as caught, worker_script.explained("failed"):
        raise error
    assert caught.value.why == why


def test_the_demo_reads_every_byte() -> None:
    words = vocabulary()
    assert len(words) == len(set(words)) == 514
    assert words[0] == "!"
    assert words[-2:] == ["<|startoftext|>", "<|endoftext|>"]
