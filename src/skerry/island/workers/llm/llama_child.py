"""The process around one llama.cpp server: a program of its own, since no other process shall load that library.

The first line of its standard input says what to serve; the end of the input, or the death of whoever started it, is
its own end. It answers with one line on standard output, `{"ready": ADDRESS, "device": ...}` or `{"error": ...}`.
Standard library only, beside `xllamacpp`.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import signal
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_DUMPABLE = 1, 38, 4
_ADJUSTMENT = "500"
_CACHES = {"float16": "GGML_TYPE_F16", "bfloat16": "GGML_TYPE_BF16", "float32": "GGML_TYPE_F32"}


def main() -> None:
    """Serve until the input ends."""
    _confine()
    order = json.loads(sys.stdin.buffer.readline() or "null")
    if order is None:
        return
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        library = importlib.import_module("xllamacpp")
        # The engine raises what it likes, down to the C++ library's own exceptions.
        server = library.Server(_parameters(library, order))
        devices = [str(device["type"]) for device in library.get_device_info()]
    except Exception as error:
        _say({"error": str(error) or type(error).__name__})
        return
    _say({"ready": server.listening_address, "device": "cuda" if any("GPU" in device for device in devices) else "cpu"})
    threading.Event().wait()
    del server


def _confine() -> None:
    """Die with the parent, leave no core file, be the first to go when memory is short, gain no rights."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(_ADJUSTMENT)
    except OSError:
        pass  # not ours to raise; the machine decides by size then
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_PDEATHSIG, signal.SIGKILL), (_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_DUMPABLE, 0)):
        libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), *(ctypes.c_ulong(0),) * 3)


def _end_with_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def _parameters(library: Any, order: dict[str, Any]) -> Any:
    found = library.CommonParams()
    found.model.path = order["path"]
    found.model_alias = [order["alias"]]
    found.hostnames = [order["host"]]
    found.port = order["port"]
    found.api_keys = [order["api_key"]] if order["api_key"] else []
    # As many tokens for each of those who ask at once, whatever the others need.
    found.n_ctx = order["context"] * order["parallel"]
    found.n_parallel = order["parallel"]
    found.kv_unified = False
    found.cache_type_k = found.cache_type_v = getattr(library.ggml_type, _CACHES[order["dtype"]])
    found.cache_prompt = order["keep_prompts"]
    found.cache_ram_mib = 0
    found.cache_idle_slots = False
    if order["threads"]:
        found.cpuparams.n_threads = found.cpuparams_batch.n_threads = order["threads"]
    # What it offers beside the model: nothing that shows one caller what another does.
    found.ui = found.endpoint_slots = found.endpoint_metrics = found.endpoint_props = False
    found.use_jinja = True
    found.offline = True
    # A connection has a thread for itself as long as it is open, asking or not.
    found.n_threads_http = order["connections"]
    found.warmup = order["warmup"]
    # It would otherwise shrink what was asked for until it fits, silently.
    found.fit_params = False
    found.verbosity = 2
    return found


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
