"""`skerry logs`: what a run has written, and a list of runs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from skerry.cli import exits, island_link, output
from skerry.cli.options import data_dir_option
from skerry.cli.watch import Watch, encoded, run_json, status_of
from skerry.errors import NotFoundError


@click.command()
@click.argument("run_id", required=False, metavar="[RUN]")
@click.option("--follow", is_flag=True, help="Go on until the run ends; its exit status becomes ours.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, help="Runs to list when no RUN is given.")
@data_dir_option
@output.output_option
def logs(run_id: str | None, *, follow: bool, limit: int, directory: Path, form: str) -> int:
    """Print what a run has written so far; without RUN, list the latest runs.

    \b
    skerry logs
    skerry logs 01kdvdna3v000g40r40m30e209 --follow
    """
    link = island_link.need(directory)
    if run_id is None:
        return _list(link, limit, form)
    try:
        return _one(link, run_id, follow, form)
    except NotFoundError as error:
        exits.suggest(error, "see `skerry logs` for the runs that there are")
        raise


def _one(link: island_link.Link, run_id: str, follow: bool, form: str) -> int:
    if follow:
        watch = Watch(link, "", run_id, collect=form == "json")
        with link.admin() as admin:
            watch.sandbox_id = admin.run(run_id).sandbox_id
        ended = watch.follow()
        if ended is None:
            return exits.INTERRUPTED
        if form == "json":
            output.print_json("run", run_json(ended, watch))
        return status_of(ended)
    received = {"stdout": b"", "stderr": b""}
    with link.admin() as admin:
        for event in admin.events(run_id, follow=False):
            if event.stream:
                received[event.stream] += event.data
            elif event.run and form == "json":
                data = run_json(event.run)
                for stream, content in received.items():
                    data[stream], data[f"{stream}_encoding"] = encoded(content)
                output.print_json("run", data)
    if form == "table":
        sys.stdout.buffer.write(received["stdout"])
        sys.stderr.buffer.write(received["stderr"])
    return exits.OK


def _list(link: island_link.Link, limit: int, form: str) -> int:
    with link.admin() as admin:
        runs = admin.runs(limit=limit)
    if form == "json":
        output.print_json("runs", {"runs": [run_json(run) for run in runs]})
        return exits.OK
    output.print_table(
        ["run", "sandbox", "state", "exit", "seconds", "cost", "command"],
        [
            (
                run.id,
                run.sandbox_id,
                run.state,
                run.exit_code,
                f"{run.duration_seconds:.3f}" if run.duration_seconds is not None else None,
                f"{run.cost.amount} {run.cost.currency}" if run.cost else None,
                run.command if len(run.command) <= 60 else run.command[:57] + "...",
            )
            for run in runs
        ],
        empty="no runs yet; start one: skerry run -- python3 -c 'print(6 * 7)'",
    )
    return exits.OK
