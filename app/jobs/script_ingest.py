"""Write the events of a script run to rows, exactly once, as `app.jobs.ingest` does for other runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import delete, func, update
from sqlmodel import Session, col, select

from app.jobs.batch import Batch, flush_points, last_step
from app.jobs.derived_status import moment
from app.jobs.script_spark import add_losses, copied, shortened, trimmed
from app.jobs.tail import tail_of
from app.metrics.loss_names import better
from app.metrics.writer import SeriesWriter
from app.runs.public import public
from app.storage.changes import publish
from app.storage.tables import Finding, LoggedFile, LogLine, Media, Run, ScriptRecord
from app.storage.transitions import guarded_update
from trainer.rundir.event_shapes import LONGEST_NAME, NONFINITE, SCRIPT_SHAPES, is_value
from trainer.rundir.events import Block, Event, Position, next_position, read_block
from trainer.rundir.folder import RunDir
from trainer.rundir.script import sessions_of

BLOCK_BYTES = 1 << 18  # per transaction, if nobody waits for it
SHORT_BLOCK_BYTES = 1 << 16  # while the worker follows other runs
LONGEST_LINE = 20_000  # characters of a logged line
LIVE_LINES = 500
MOST_SUMMARY = 100  # series whose latest values the summary has
MOST_MEDIA = 100_000  # images and texts of a run
MOST_FILES = 10_000
LARGEST_CONFIG = 4 << 20  # bytes of JSON
LONGEST_TEXT = 500

log = logging.getLogger(__name__)


@dataclass
class ScriptBatch(Batch):
    """Besides: the log lines of a block, and the lines and values that could not be used."""

    lines: list[LogLine] = field(default_factory=list)
    passed_over: int = 0
    summary: dict[str, Any] = field(default_factory=dict)
    media_left: int | None = None  # how many the run may still log; None before it was counted


def ingest_script(
    session: Session, run: Run, record: ScriptRecord, run_dir: Path, limit: int = BLOCK_BYTES
) -> Event | None:
    """Write the next block of the run's events, about `limit` bytes, to rows.

    Runs in the caller's transaction, guarded by the run's claim. Returns the `end` event of the run's newest attempt
    if it was in this block, else None. Raises LostClaim.
    """
    at, block = _next_block(run_dir, tail_of(run), limit)
    names = {name for event in block.events if event["e"] == "metrics" for name in event["v"]}
    writer = SeriesWriter(session, run.key or 0, names)
    batch = ScriptBatch(spark=copied(run.spark), summary={**run.summary}, passed_over=block.passed_over)
    old_spark = run.spark
    _choose_losses(record, batch, names - writer.series.keys())
    for event in block.events:
        _apply(session, run, record, writer, batch, event, at.attempt, run_dir)
    flush_points(session, run, writer, batch)
    _flush_lines(session, run, batch)
    if batch.passed_over:
        log.warning("%s, attempt %d: passed over %d lines or values", run.id, at.attempt, batch.passed_over)
    record.passed_over += batch.passed_over
    session.add(record)
    if batch.summary != run.summary:
        batch.fields["summary"] = batch.summary
    batch.fields |= {"tail_attempt": at.attempt, "tail_offset": block.end, "spark": _spark(record, batch)}
    guarded_update(session, run, **batch.fields)
    if block.events:
        publish(session, run.id, "status", public(run).live(spark=run.spark != old_spark))
    return batch.end if at.attempt == run.attempt else None


def _spark(record: ScriptRecord, batch: ScriptBatch) -> dict[str, Any]:
    """The curves of the list of runs, with the names of their series."""
    return {**shortened(batch.spark), "names": {"train": record.train_loss, "val": record.val_loss}}


def _next_block(run_dir: Path, after: Position, limit: int) -> tuple[Position, Block]:
    at = next_position(run_dir, after)
    if at is None:
        return after, Block([], after.offset)
    return at, read_block(RunDir(run_dir).events(at.attempt), at.offset, limit, SCRIPT_SHAPES)


def _apply(
    session: Session,
    run: Run,
    record: ScriptRecord,
    writer: SeriesWriter,
    batch: ScriptBatch,
    event: Event,
    attempt: int,
    run_dir: Path,
) -> None:
    match event["e"]:
        case "metrics":
            _add_metrics(run, record, writer, batch, event)
        case "log":
            line = event["line"]
            cut = line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + " … (cut)"
            batch.lines.append(LogLine(run=run.key or 0, attempt=attempt, time=event["t"], line=cut))
        case "start":
            flush_points(session, run, writer, batch)
            _start(session, run, record, writer, batch, event, attempt, run_dir)
        case "config":
            _merge_config(record, batch, event["v"])
        case "environment":
            record.environment = _merged(record.environment, event["v"])
        case "summary":
            _summarize(batch, event["v"])
        case "image" | "text":
            _add_media(session, run, batch, event)
        case "file":
            _add_file(session, run, batch, event)
        case "end":
            batch.end = event
            _summarize(batch, event.get("summary") or {})


def _add_metrics(run: Run, record: ScriptRecord, writer: SeriesWriter, batch: ScriptBatch, event: Event) -> None:
    step, time = event["step"], event["t"]
    values: dict[str, float] = {}
    for name, value in event["v"].items():
        # A series only grows.
        if not name or len(name) > LONGEST_NAME or not is_value(value) or step <= last_step(writer, batch, name):
            batch.passed_over += 1
            continue
        number = NONFINITE[value] if isinstance(value, str) else float(value)
        batch.points[name].append((step, number, time))
        values[name] = number
        if name in batch.summary or len(batch.summary) < MOST_SUMMARY or name in (record.train_loss, record.val_loss):
            batch.summary[name] = value
    if not values:
        return
    batch.fields["step"] = max(step, batch.fields.get("step", run.step))
    add_losses(batch.spark, step, values.get(record.train_loss or ""), values.get(record.val_loss or ""))
    accuracy = values.get("val/acc")
    if accuracy is not None and 0 <= accuracy <= 1:
        best = batch.fields.get("best_acc", run.best_acc)
        if best is None or accuracy > best:
            batch.fields |= {"best_acc": accuracy, "best_step": step}


def _choose_losses(record: ScriptRecord, batch: ScriptBatch, new_names: set[str]) -> None:
    """Look for the training and the validation loss among the series that are new in this block."""
    for name in new_names:
        if better(name, record.train_loss, "train"):
            record.train_loss = name
            batch.spark["train"] = [None] * len(batch.spark["step"])
        elif better(name, record.val_loss, "val"):
            record.val_loss = name
            batch.spark["val"] = [None] * len(batch.spark["step"])


def _start(
    session: Session,
    run: Run,
    record: ScriptRecord,
    writer: SeriesWriter,
    batch: ScriptBatch,
    event: Event,
    attempt: int,
    run_dir: Path,
) -> None:
    """Begin a session: what an earlier one logged at its first step or later is removed."""
    first = event["from_step"]
    writer.load()
    if writer.series:
        if writer.trim(first - 1):
            publish(session, run.id, "rewind", {"run": run.id, "step": first - 1})
            batch.fields |= {"step": min(run.step, max(first - 1, 0))}
            batch.spark = trimmed(batch.spark, first - 1)
            if run.best_step is not None and run.best_step >= first:
                batch.fields |= {"best_acc": None, "best_step": None}
        session.exec(delete(Finding).where(col(Finding.run) == run.key, col(Finding.step) >= first))
        session.exec(delete(Media).where(col(Media.run) == run.key, col(Media.step) >= first))
    if run.started_at is None:
        batch.fields["started_at"] = moment(event["t"])
    known = next((one for one in sessions_of(run_dir) if one.attempt == attempt), None)
    if known is not None and not event.get("again"):  # a session that repeats earlier steps starts again
        record.environment = known.script
        _merge_config(record, batch, known.config)


def _merge_config(record: ScriptRecord, batch: ScriptBatch, values: Mapping[str, Any]) -> None:
    merged = _merged(record.config, values)
    if len(orjson.dumps(merged)) > LARGEST_CONFIG:
        batch.passed_over += 1
    else:
        record.config = merged


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return `old` with the values of `new`; mappings in both are merged in turn."""
    found = dict(old)
    for name, value in new.items():
        before = found.get(name)
        found[name] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return found


def _summarize(batch: ScriptBatch, values: Mapping[str, Any]) -> None:
    """Add a script's own summary, which may have texts."""
    for name, value in islice(values.items(), 10 * MOST_SUMMARY):
        known = name in batch.summary or len(batch.summary) < 2 * MOST_SUMMARY
        if known and len(name) <= LONGEST_NAME and (value is None or isinstance(value, str | int | float)):
            batch.summary[name] = value[:LONGEST_TEXT] if isinstance(value, str) else value
        else:
            batch.passed_over += 1


def _add_media(session: Session, run: Run, batch: ScriptBatch, event: Event) -> None:
    if batch.media_left is None:
        batch.media_left = MOST_MEDIA - _count(session, Media, run)
    if batch.media_left <= 0:
        batch.passed_over += 1
        return
    batch.media_left -= 1
    session.add(
        Media(
            run=run.key or 0,
            kind=event["e"],
            name=event["key"],
            step=event["step"],
            number=event.get("index", 0),
            time=event["t"],
            sha256=event.get("sha256"),
            format=event.get("format"),
            text=event.get("text") or event.get("caption") or "",
        )
    )
    batch.fields["step"] = max(event["step"], batch.fields.get("step", run.step))
    publish(session, run.id, "media", {"run": run.id, "kind": event["e"], "key": event["key"], "step": event["step"]})


def _add_file(session: Session, run: Run, batch: ScriptBatch, event: Event) -> None:
    values = {"sha256": event["sha256"], "size": event["size"], "time": event["t"]}
    where = (col(LoggedFile.run) == run.key, col(LoggedFile.path) == event["path"])
    found: Any = session.exec(update(LoggedFile).where(*where).values(**values))
    if not found.rowcount and _count(session, LoggedFile, run) >= MOST_FILES:
        batch.passed_over += 1
    elif not found.rowcount:
        session.add(LoggedFile(run=run.key or 0, path=event["path"], **values))
        session.flush()


def _count(session: Session, table: type[Media | LoggedFile], run: Run) -> int:
    return session.exec(select(func.count()).select_from(table).where(col(table.run) == run.key)).one()


def _flush_lines(session: Session, run: Run, batch: ScriptBatch) -> None:
    if not batch.lines:
        return
    session.add_all(batch.lines)
    session.flush()
    if len(batch.lines) > LIVE_LINES:
        publish(session, run.id, "resync", {"run": run.id})  # fetching many lines is faster than streaming them
    else:
        lines = [line.model_dump(exclude={"run"}) for line in batch.lines]
        publish(session, run.id, "log", {"run": run.id, "lines": lines})


def record_of(session: Session, run: Run) -> ScriptRecord:
    found = session.exec(select(ScriptRecord).where(ScriptRecord.run == run.key)).first()
    return found or ScriptRecord(run=run.key or 0)
