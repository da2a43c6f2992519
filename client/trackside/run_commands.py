"""`trackside runs …`: the runs of a server, here or on another machine, from the command line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from trackside.client import Client
from trackside.errors import ApiError, Error
from trackside.run_export import csv_blocks, json_blocks
from trackside.run_handle import RunHandle
from trackside.run_progress import follow_log, latest_values, progress_line, watch

FILTERS = {
    "status": "queued, starting, running, stopping, finished, stopped or failed", "dataset": None, "project": None,
    "group": None, "tag": None, "model": None, "q": "a search as on the page Runs, such as 'lr<0.01 val/acc>=0.7'",
    "sort": "such as -created_at (default), optimizer.lr or -val/acc",
}  # fmt: skip


def main(words: list[str]) -> int:
    """Return 0 on success, 1 for an error or a run that has not finished, 130 for Ctrl-C; 2 is a wrong usage."""
    asked = _parser().parse_args(words)
    carry_out: Callable[[Client, argparse.Namespace], int] = asked.carry_out
    try:
        code = carry_out(Client(asked.url, asked.token), asked)
        sys.stdout.flush()
        return code
    except ApiError as error:
        _complain(error, asked.json)
        return 1
    except BrokenPipeError:  # the reader of our output has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Error, OSError) as error:
        sys.stderr.write(f"trackside: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _list(client: Client, asked: argparse.Namespace) -> int:
    filters = {name: getattr(asked, name) for name in FILTERS}
    runs = client.runs(limit=asked.limit, **filters)
    if asked.json:
        _say(json.dumps([run.data for run in runs]))
        return 0
    rows = [("ID", "STATUS", "PROGRESS", "VAL ACC", "DATASET", "NAME"), *map(_row, runs)]
    wide = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        _say("  ".join(text.ljust(width) for text, width in zip(row, wide)).rstrip())
    return 0


def _show(client: Client, asked: argparse.Namespace) -> int:
    run = client.run(asked.run)
    if asked.json:
        _say(json.dumps(run.data))
        return 0
    data = run.data
    _say(f"{run.id}  {run.name}")
    _say(progress_line(run, latest_values(run)))
    for name in ("dataset", "preset", "project", "group", "device", "created_at", "started_at", "finished_at", "notes"):
        if data[name]:
            _say(f"{name.replace('_', ' ')}: {data[name]}")
    if data["tags"]:
        _say(f"tags: {', '.join(data['tags'])}")
    for name, value in sorted(run.summary.items()):
        _say(f"{name}: {value}")
    if run.error is not None:
        _say(f"error: {run.error['message']}")
    _say(run.url)
    return 0


def _launch(client: Client, asked: argparse.Namespace) -> int:
    overrides = dict(map(_assignment, asked.set))
    run = client.launch(
        asked.dataset, asked.preset, overrides, asked.name, asked.tag, group=asked.group, project=asked.project
    )
    if not asked.wait:
        _tell(run, asked)
        return 0
    _say(json.dumps(run.data) if asked.json else run.id)
    return watch(run, _say, asked.json)


def _stop(client: Client, asked: argparse.Namespace) -> int:
    _tell(client.run(asked.run).stop(asked.finish_early), asked)
    return 0


def _resume(client: Client, asked: argparse.Namespace) -> int:
    _tell(client.run(asked.run).resume(asked.epochs), asked)
    return 0


def _logs(client: Client, asked: argparse.Namespace) -> int:
    run = client.run(asked.run)
    if asked.follow:
        return follow_log(run, _say, asked.json)
    for line in run.log():
        _say(json.dumps(vars(line)) if asked.json else line.line)
    return 0


def _watch(client: Client, asked: argparse.Namespace) -> int:
    return watch(client.run(asked.run), _say, asked.json)


def _export(client: Client, asked: argparse.Namespace) -> int:
    run = client.run(asked.run)
    blocks = json_blocks(run) if asked.json or asked.format == "json" else csv_blocks(run)
    if asked.output in (None, "-"):
        for block in blocks:
            sys.stdout.buffer.write(block)
        return 0
    _write(Path(asked.output), blocks)
    return 0


def _write(path: Path, blocks: Iterator[bytes]) -> None:
    """Write a file that appears once it is complete."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.writelines(blocks)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _row(run: RunHandle) -> tuple[str, ...]:
    best = run.data["best_acc"]
    acc = "-" if best is None else f"{best:.2%}"
    done = "-" if run.data["total_steps"] is None else f"{run.data['progress']:.0%}"  # nobody knows a script's end
    return run.id, run.status, done, acc, run.data["dataset"] or "-", run.name


def _tell(run: RunHandle, asked: argparse.Namespace) -> None:
    _say(json.dumps(run.data) if asked.json else run.id if asked.carry_out is _launch else f"{run.id}  {run.status}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _complain(error: ApiError, as_json: bool) -> None:
    if as_json:
        body = {"status": error.status, "code": error.code, "message": error.message, "detail": error.detail}
        sys.stderr.write(json.dumps({"error": body}) + "\n")
        return
    lines = [error.message]
    if error.status == 401:
        lines.append("Give a token with --token or TRACKSIDE_TOKEN.")
    if isinstance(error.detail, list):
        fields = [f"{item['field']}: {item['message']}" for item in error.detail if isinstance(item, dict)]
        lines += [field for field in fields if field not in error.message]
    sys.stderr.write("".join(f"trackside: {line}\n" for line in lines))


def _assignment(text: str) -> tuple[str, Any]:
    """Return the setting and the value of `field=value`. What is no JSON is text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise Error(f"--set needs field=value, not {text!r}.")
    try:
        return name, json.loads(value, parse_constant=_no_number)
    except ValueError:
        return name, value


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trackside runs", description="The runs of a server, here or elsewhere.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--url", help="of the server: TRACKSIDE_URL, or http://127.0.0.1:8000 by default")
    common.add_argument("--token", help="TRACKSIDE_TOKEN by default, which other users of this machine do not see")
    common.add_argument("--json", action="store_true", help="write JSON; errors too, to standard error")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, text: str, carry_out: Callable[[Client, argparse.Namespace], int]) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[common])
        added.set_defaults(carry_out=carry_out)
        if carry_out not in (_list, _launch):
            added.add_argument("run", metavar="RUN", help="its id")
        return added

    listing = add("list", "list runs, the newest first", _list)
    for name, text in FILTERS.items():
        listing.add_argument(f"--{name}", help=text)
    listing.add_argument("--limit", type=_count, default=50, help="50 by default")
    add("show", "show a run", _show)
    launching = add("launch", "queue a run, and print its id", _launch)
    launching.add_argument("--dataset", required=True)
    launching.add_argument("--preset", required=True)
    launching.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="as often as needed")
    for name in ("name", "group", "project"):
        launching.add_argument(f"--{name}")
    launching.add_argument("--tag", action="append", default=[], help="as often as needed")
    launching.add_argument("--wait", action="store_true", help="watch it; exit with 0 only if it finishes")
    stopping = add("stop", "stop a run; it keeps a checkpoint", _stop)
    stopping.add_argument("--finish-early", action="store_true", help="anneal over a few epochs, then test")
    resuming = add("resume", "continue a run from its last checkpoint", _resume)
    resuming.add_argument("--epochs", type=_count, default=0, help="to add")
    logs = add("logs", "print the log of a run", _logs)
    logs.add_argument("--follow", "-f", action="store_true", help="until the run has ended")
    add("watch", "print status and latest metrics until a run has ended; exit with 0 only if it finished", _watch)
    exporting = add("export", "write every value of the curves", _export)
    exporting.add_argument("--format", choices=("csv", "json"), default="csv")
    exporting.add_argument("--output", "-o", metavar="FILE", help="standard output by default")
    return parser
