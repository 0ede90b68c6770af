"""`python -m bench`: run every scenario, print one table, keep the raw samples.

python -m bench            the whole table (a few minutes)
python -m bench --quick    fewer rounds
python -m bench exec fork  only scenarios whose name contains one of these words
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from bench import dc1, dispersed, llm, memory, octaspace, sandboxes, vpn, wire
from bench.harness import Row, keep, render
from bench.served import Served


def main() -> int:
    """Run the chosen scenarios; exit 0 whatever the figures say, for a figure is information, not a verdict."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measured ratios, raw samples kept.")
    parser.add_argument("words", nargs="*", help="only scenarios whose name contains one of these")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds")
    options = parser.parse_args()
    scale = 10 if options.quick else 1

    scenarios: dict[str, Callable[[Served], list[Row]]] = {
        "create": lambda island: sandboxes.create_and_first_command(island, 100 // scale),
        "burst": lambda island: sandboxes.burst_of_forks(island, 100),
        "exec": lambda island: sandboxes.exec_in_live_sandbox(island, 300 // scale),
        "fork-size": lambda island: sandboxes.fork_against_size(island, 30 // scale),
        "fork-depth": sandboxes.fork_against_depth,
        "files": lambda island: wire.file_sync(island, 30 // scale),
        "sdk": lambda island: wire.sdk_overhead(island, 500 // scale),
        "durable": lambda island: wire.durable_run(island, 200 // scale),
        "server": lambda island: wire.server_throughput(island, 3 / scale),
        "port": lambda island: wire.published_port(island, 300 // scale),
        "signatures": lambda island: dispersed.signatures(200 // scale),
        "jobs-list": lambda island: dispersed.list_of_jobs(island, 300 // scale),
        "jobs-start": lambda island: dispersed.create_to_running(island, 50 // scale),
        "jobs-many": lambda island: dispersed.many_jobs(island, 1000 // scale),
        "machine-start": lambda island: octaspace.start_to_ready(island, 40 // scale),
        "machine-http": lambda island: octaspace.http_port(island, 300 // scale),
        "machine-ssh": lambda island: octaspace.ssh_login(island, 20 // scale),
        "dc1-script": lambda island: dc1.script(island, 50 // scale),
        "dc1-many": lambda island: dc1.many_scripts(island, 200 // scale),
        "dc1-text": lambda island: dc1.text(island, 100 // scale),
        "dc1-serve": lambda island: dc1.served_model(island, 200 // scale),
        "memory": lambda island: memory.agent_memory(island, 100 // scale),
        "llm": lambda _: llm.pool(300 // scale),
        "vpn": lambda _: vpn.throughput(5 // scale + 1),
        "startup": lambda island: wire.start_up(20 // scale + 1),
    }
    chosen = {
        name: run for name, run in scenarios.items() if not options.words or any(word in name for word in options.words)
    }
    rows: list[Row] = []
    with Served() as island:
        for name, run in chosen.items():
            print(f"{name} ...", file=sys.stderr, flush=True)
            rows += run(island)
    print(render(rows))
    print(f"\nraw samples: {keep(rows).relative_to(sys.path[0] or '.')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
