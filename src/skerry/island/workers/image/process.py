"""One process with one model in it: started, bounded, spoken to in lines of JSON, ended."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import itertools
import json
import logging
import os
import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Never

from skerry.island.engine.errors import EngineError, Invalid, NoCapacity, NotFound, Unavailable, Unsupported
from skerry.island.workers.image.choices import DiffusionChoices
from skerry.island.workers.image.values import Order, Phase

log = logging.getLogger("skerry.diffusion")

OnPhase = Callable[[Phase], Awaitable[None] | None]

SCRIPT = Path(__file__).with_name("worker_script.py")
_MOST_LINE = 48 << 20
_KEPT_STDERR = 8192
_PNG = b"\x89PNG\r\n\x1a\n"
_REFUSALS: dict[str, type[EngineError]] = {
    "cannot_load": Unsupported,
    "failed": Unavailable,
    "invalid": Invalid,
    "no_hub": Unavailable,
    "no_room": NoCapacity,
    "not_found": NotFound,
    "out_of_memory": NoCapacity,
}
_HUB_WORDS = ("no_hub", "no_room", "not_found")
_PASSED = {
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "XDG_CACHE_HOME"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
}
_PASSED_PREFIXES = (
    "CUDA_",
    "NVIDIA_",
    "HIP_",
    "ROCR_",
    "HF_",
    "HUGGINGFACE_",
    "HUGGING_FACE_",
    "OMP_",
    "MKL_",
    "PYTORCH_",
)


class HubFailed(EngineError):
    """The hub does not give the model; `told` is the error for whoever wanted it."""

    def __init__(self, told: EngineError) -> None:
        super().__init__(told.message)
        self.told = told


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a process answers.

    Args:
        png: the file.
        width, height: in pixels.
        seconds: that drawing took.
        withheld: whether the model's safety checker blackened it.
    """

    png: bytes
    width: int
    height: int
    seconds: float
    withheld: bool


class PictureProcess:
    """Made by `start`; not to be used by two at a time. After any error but a refusal it has ended."""

    def __init__(self, process: asyncio.subprocess.Process, model: str, choices: DiffusionChoices) -> None:
        self.device = ""
        self._process = process
        self._model = model
        self._choices = choices
        self._numbers = itertools.count(1)
        self._said = b""
        self._killed = False
        loop = asyncio.get_running_loop()
        self._watching = loop.create_task(self._watch())
        self._listening = loop.create_task(self._keep_stderr())

    @classmethod
    async def start(
        cls,
        python: Path,
        model: str,
        task: Mapping[str, Any],
        choices: DiffusionChoices,
        environ: Mapping[str, str],
        script: Path = SCRIPT,
    ) -> PictureProcess:
        """Start it, and wait until the model is loaded.

        Args:
            python: the environment's.
            model: its name, for messages.
            task: what the script is told: a `folder`, or a `hub` name and the room to leave.
            choices: its bounds.
            environ: the island's; what is no business of the process is left out.
            script: what it runs.

        Raises:
            HubFailed: the hub does not give the model.
            Unsupported: the model cannot be loaded.
            NoCapacity: it does not fit into memory.
            Unavailable: it died, said nonsense, or took too long.
        """
        told = json.dumps({"parent": os.getpid(), **task})
        try:
            process = await asyncio.create_subprocess_exec(
                str(python),
                *("-I", "-B", str(script), told),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=_MOST_LINE,
                env=environment(environ, hub="hub" in task),
                # What ends a terminal's programs is no signal to the pictures: the island ends them when it is done.
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"{python} cannot be started: {error}") from None
        with contextlib.suppress(ProcessLookupError):
            _bound(process.pid, choices.memory)
        self = cls(process, model, choices)
        async with self._ending_on_error(), self._within(choices.load_seconds, "loading"):
            message = await self._hear()
            match message:
                case {"loaded": {"device": str(device)}}:
                    self.device = device
                case {"refused": refused}:
                    self._refuse(refused)
                case _:
                    self._nonsense()
        return self

    @property
    def pid(self) -> int:
        """Of the process, and of its group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be asked for a picture."""
        return self._process.returncode is None and not self._process.stdout.at_eof()  # type: ignore[union-attr]

    async def draw(self, order: Order, on_phase: OnPhase) -> Drawn:
        """Draw a picture; when this is cancelled, the process stops drawing, or is killed if it does not.

        Raises:
            Invalid: the model cannot draw that.
            NoCapacity: it does not fit into memory.
            Unavailable: it failed, died, said nonsense, or took too long.
        """
        number = next(self._numbers)
        try:
            async with self._within(self._choices.picture_seconds, "a picture"):
                await self._tell({"draw": {"id": number, **asdict(order)}})
                while True:
                    match await self._hear():
                        case {"phase": ("generating" | "formatting") as phase}:
                            if (waiting := on_phase(phase)) is not None:
                                await waiting
                        case {"picture": dict(picture)} if picture.get("id") == number:
                            return self._picture(picture)
                        case {"refused": dict(refused)} if refused.get("id") == number:
                            self._refuse(refused)
                        case _:
                            self._nonsense()
        except _Refusal as refusal:
            raise refusal.error from None
        except asyncio.CancelledError:
            await self._cancel(number)
            raise
        except BaseException:
            await self.kill()
            raise

    async def close(self) -> None:
        """Let it end, and kill it if it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(self._choices.grace_seconds):
                await self._process.wait()
        except TimeoutError:
            log.warning("the picture process of %s is killed, since it does not end", self._model)
        finally:
            await self.kill()

    async def kill(self) -> None:
        """End it and whatever it started; returns when it has gone."""
        self._kill_group()
        await asyncio.shield(self._reap())

    def _kill_group(self) -> None:
        if not self._killed:
            self._killed = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _watch(self) -> None:
        # At once, while the number of its group cannot belong to anybody else; some event loops' `wait` goes on as long
        # as what it started has its pipes.
        await _ended(self._process.pid)
        self._kill_group()
        await self._process.wait()

    async def _reap(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._watching
        await asyncio.wait([self._listening], timeout=self._choices.grace_seconds)
        self._listening.cancel()

    async def _cancel(self, number: int) -> None:
        """Leave the process as it was before, its model loaded, or not at all."""
        try:
            async with asyncio.timeout(self._choices.grace_seconds):
                await self._tell({"cancel": number})
                while True:
                    match await self._hear():
                        case {"phase": _}:
                            continue
                        case {"picture": {"id": answered}} | {"refused": {"id": answered}} if answered == number:
                            return
                        case _:
                            break
        except (TimeoutError, EngineError):
            log.info("the picture process of %s is killed, since it does not stop drawing", self._model)
        except BaseException:
            await self.kill()
            raise
        await self.kill()

    async def _tell(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        try:
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise await self._death() from None

    async def _hear(self) -> Any:
        assert self._process.stdout is not None
        try:
            line = await self._process.stdout.readline()
        except ValueError:
            self._nonsense()
        if not line.endswith(b"\n"):
            raise await self._death()
        try:
            return json.loads(line)
        except ValueError:
            self._nonsense()

    async def _death(self) -> EngineError:
        """Why it ended, in words: its own end, if it comes to that by itself."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._choices.grace_seconds):
                await self._process.wait()
        await self.kill()
        status = self._process.returncode or 0
        lines = [line.strip() for line in self._said.decode(errors="replace").splitlines() if line.strip()]
        last = lines[-1] if lines else ""
        if any(word in self._said for word in (b"bad_alloc", b"MemoryError", b"annot allocate memory")):
            return NoCapacity(self._too_large(last))
        if status == -signal.SIGKILL:
            last = last or "perhaps the machine had no memory left"
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return Unavailable(f"the picture process of {self._model} {how}: {last}"[:1000])

    def _picture(self, answer: Mapping[str, Any]) -> Drawn:
        try:
            drawn = Drawn(
                png=base64.b64decode(answer["png"], validate=True),
                width=int(answer["width"]),
                height=int(answer["height"]),
                seconds=float(answer["seconds"]),
                withheld=bool(answer["withheld"]),
            )
        except (KeyError, TypeError, ValueError, binascii.Error):
            self._nonsense()
        if not drawn.png.startswith(_PNG):
            self._nonsense()
        return drawn

    def _refuse(self, refusal: Any) -> Never:
        try:
            why, message = str(refusal["why"]), str(refusal["message"])
            kind = _REFUSALS[why]
        except (KeyError, TypeError):
            self._nonsense()
        if why == "out_of_memory":
            raise _Refusal(NoCapacity(self._too_large(message)))
        if why in _HUB_WORDS:
            raise _Refusal(HubFailed(kind(f"{self._model} is not on this machine, and {message}")))
        raise _Refusal(kind(f"{self._model}: {message}"))

    def _too_large(self, detail: str) -> str:
        bound = f"{self._choices.memory / (1 << 30):.1f} GiB"
        return f"{self._model} ran out of memory (a process may use {bound}): {detail}"[:1000]

    def _nonsense(self) -> Never:
        raise Unavailable(f"the picture process of {self._model} did not keep to its protocol and was ended")

    @contextlib.asynccontextmanager
    async def _ending_on_error(self) -> AsyncIterator[None]:
        try:
            yield
        except _Refusal as refusal:
            await self.kill()
            raise refusal.error from None
        except BaseException:
            await self.kill()
            raise

    @contextlib.asynccontextmanager
    async def _within(self, seconds: float, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise Unavailable(f"{what} took {self._model} longer than {seconds:g} seconds, and was ended") from None

    async def _keep_stderr(self) -> None:
        """The end of what it says, for when it dies."""
        assert self._process.stderr is not None
        while chunk := await self._process.stderr.read(65536):
            self._said = (self._said + chunk)[-_KEPT_STDERR:]


class _Refusal(Exception):
    """The process refuses, and stays usable."""

    def __init__(self, error: EngineError) -> None:
        super().__init__(error.message)
        self.error = error


async def _ended(pid: int) -> None:
    """Return when a child of ours has ended, whatever has become of its own."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(handle, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


def _bound(pid: int, memory: int) -> None:
    """Let a process allocate no more than that; a smaller bound that it has stays."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
    bound = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    resource.prlimit(pid, resource.RLIMIT_DATA, (bound, bound))


def environment(environ: Mapping[str, str], *, hub: bool) -> dict[str, str]:
    """The variables of a picture process: none of the island's own, and no hub unless it shall ask it."""
    passed = {name: value for name, value in environ.items() if name in _PASSED or name.startswith(_PASSED_PREFIXES)}
    fixed = {
        "DIFFUSERS_DISABLE_REMOTE_CODE": "1",
        "DIFFUSERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        # Threads that wait by spinning are ten times as slow beside anything else that computes.
        "OMP_WAIT_POLICY": environ.get("OMP_WAIT_POLICY", "passive"),
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    if hub:
        return {**passed, **fixed}
    tokens = {"HF_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HUGGING_FACE_HUB_TOKEN"}
    return {**{name: passed[name] for name in passed.keys() - tokens}, **fixed, "HF_HUB_OFFLINE": "1"}
