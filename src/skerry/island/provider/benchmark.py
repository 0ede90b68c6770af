"""The program of a benchmark job: products of matrices, timed where it runs (protocol section 5.5)."""

from __future__ import annotations

from typing import Any

from skerry.island.provider.params import lenient_integer

SIZE, ITERATIONS = 4096, 5


def benchmark_script(size: Any = None, iterations: Any = None) -> str:
    """A Python program that multiplies square matrices on a GPU, with numpy, or in plain Python, and says how fast.

    Args:
        size: rows of a matrix; leniently read, 16 to 16384.
        iterations: products to be timed; 1 to 100.
    """
    wanted = {
        "__SIZE__": lenient_integer(size, SIZE, 16, 16384),
        "__ITERATIONS__": lenient_integer(iterations, ITERATIONS, 1, 100),
    }
    text = _PROGRAM
    for name, value in wanted.items():
        text = text.replace(name, str(value))
    return text


_PROGRAM = """\
import json
import random
import time

size, iterations = __SIZE__, __ITERATIONS__
device, library = "cpu", "python"


def with_torch():
    global device, library
    import torch

    if not torch.cuda.is_available():
        raise ImportError("no GPU")
    a, b = torch.randn(size, size, device="cuda"), torch.randn(size, size, device="cuda")
    device, library = "cuda", "torch"

    def once():
        torch.mm(a, b)
        torch.cuda.synchronize()

    return once


def with_numpy():
    global library
    import numpy

    a = numpy.random.rand(size, size).astype(numpy.float32)
    b = numpy.random.rand(size, size).astype(numpy.float32)
    library = "numpy"
    return lambda: a @ b


def with_python():
    global size
    # A product of that size in plain Python would take hours; the speed is the same at a smaller one.
    size = min(size, 160)
    a = [[random.random() for _ in range(size)] for _ in range(size)]
    b = [[random.random() for _ in range(size)] for _ in range(size)]

    def once():
        columns = list(zip(*b))
        return [[sum(x * y for x, y in zip(row, column)) for column in columns] for row in a]

    return once


for way in (with_torch, with_numpy, with_python):
    try:
        once = way()
        break
    except ImportError:
        continue
print("[dcp-phase] generating", flush=True)
once()
seconds = []
for number in range(iterations):
    began = time.perf_counter()
    once()
    seconds.append(time.perf_counter() - began)
    print("product %d of %d: %.4f s" % (number + 1, iterations, seconds[-1]), flush=True)
best = min(seconds)
result = {
    "type": "benchmark",
    "benchmark": "matmul",
    "matrix_size": size,
    "iterations": iterations,
    "seconds": round(sum(seconds), 4),
    "best_seconds": round(best, 4),
    # To three digits: of a slow machine's hundredths nothing would be left.
    "gflops": float("%.3g" % (2 * size**3 / best / 1e9)),
    "device": device,
    "library": library,
}
print("DC1_RESULT_JSON:" + json.dumps(result), flush=True)
"""
