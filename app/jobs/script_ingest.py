"""Write the events of a script run to rows, exactly once, as `app.jobs.ingest` does for other runs."""

from __future__ import annotations

import logging
import math
from pathlib import Path

from sqlalchemy import delete
from sqlmodel import Session, col, select

from app.jobs.batch import flush_points, last_step
from app.jobs.derived_status import moment
from app.jobs.script_batch import MOST_SUMMARY, ScriptBatch, merge_config, merged, summarize
from app.jobs.script_files import add_file, add_media
from app.jobs.script_spark import add_losses, copied, shortened, trimmed
from app.jobs.tail import tail_of
from app.metrics.loss_names import better
from app.metrics.writer import SeriesWriter
from app.runs.public import public
from app.storage.changes import publish
from app.storage.tables import Finding, LogLine, Media, Run, ScriptRecord
from app.storage.transitions import guarded_update
from trainer.rundir.event_shapes import LONGEST_NAME, NONFINITE, SCRIPT_SHAPES, is_value
from trainer.rundir.events import Block, Event, Position, next_position, read_block
from trainer.rundir.folder import RunDir
from trainer.rundir.script import sessions_of

BLOCK_BYTES = 1 << 20  # per transaction of some 80 ms, if nobody waits for it
SHORT_BLOCK_BYTES = 1 << 16  # while the worker follows other runs
LONGEST_LINE = 20_000  # characters of a logged line
LIVE_LINES = 500

log = logging.getLogger(__name__)


def ingest_script(
    session: Session, run: Run, record: ScriptRecord, run_dir: Path, limit: int = BLOCK_BYTES
) -> Event | None:
    """Write the next block of the run's events, about `limit` bytes, to rows.

    Runs in the caller's transaction, guarded by the run's claim. Returns the `end` event of the run's newest attempt
    if it was in this block, else None. Raises LostClaim.
    """
    at, block = _next_block(run_dir, tail_of(run), limit)
    return _Ingest(session, run, record, run_dir, at.attempt, block).write()


def _next_block(run_dir: Path, after: Position, limit: int) -> tuple[Position, Block]:
    at = next_position(run_dir, after)
    if at is None:
        return after, Block([], after.offset)
    return at, read_block(RunDir(run_dir).events(at.attempt), at.offset, limit, SCRIPT_SHAPES)


class _Ingest:
    """One block of one attempt."""

    def __init__(
        self, session: Session, run: Run, record: ScriptRecord, run_dir: Path, attempt: int, block: Block
    ) -> None:
        self.session, self.run, self.record = session, run, record
        self.run_dir, self.attempt, self.block = run_dir, attempt, block
        self.names = {name for event in block.events if event["e"] == "metrics" for name in event["v"]}
        self.writer = SeriesWriter(session, run.key or 0, self.names)
        self.batch = ScriptBatch(spark=copied(run.spark), summary={**run.summary}, passed_over=block.passed_over)
        self.batch.fields["step"] = run.step
        self.losses = (record.train_loss, record.val_loss)

    def write(self) -> Event | None:
        run, batch, record = self.run, self.batch, self.record
        old_spark = run.spark
        self._choose_losses(self.names - self.writer.series.keys())
        for event in self.block.events:
            self._apply(event)
        flush_points(self.session, run, self.writer, batch)
        self._flush_lines()
        if batch.passed_over:
            log.warning("%s, attempt %d: passed over %d lines or values", run.id, self.attempt, batch.passed_over)
        record.passed_over += batch.passed_over
        self.session.add(record)
        if batch.summary != run.summary:
            batch.fields["summary"] = batch.summary
        # The curves of the list of runs, with the names of their series.
        spark = {**shortened(batch.spark), "names": {"train": record.train_loss, "val": record.val_loss}}
        batch.fields |= {"tail_attempt": self.attempt, "tail_offset": self.block.end, "spark": spark}
        guarded_update(self.session, run, **batch.fields)
        if self.block.events:
            publish(self.session, run.id, "status", public(run).live(spark=run.spark != old_spark))
        return batch.end if self.attempt == run.attempt else None

    def _apply(self, event: Event) -> None:
        session, run, record, batch = self.session, self.run, self.record, self.batch
        match event["e"]:
            case "metrics":
                self._add_metrics(event)
            case "log":
                line = event["line"]
                cut = line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + " … (cut)"
                batch.lines.append(LogLine(run=run.key or 0, attempt=self.attempt, time=event["t"], line=cut))
            case "start":
                flush_points(session, run, self.writer, batch)
                self._start(event)
            case "config":
                merge_config(record, batch, event["v"])
            case "environment":
                record.environment = merged(record.environment, event["v"])
            case "summary":
                summarize(batch, event["v"])
            case "image" | "text":
                add_media(session, run, batch, event)
            case "file":
                add_file(session, run, batch, event)
            case "end":
                batch.end = event
                summarize(batch, event.get("summary") or {})

    def _add_metrics(self, event: Event) -> None:
        """The hot path: a script may log hundreds of thousands of values per second."""
        batch, losses = self.batch, self.losses
        points, summary = batch.points, batch.summary
        step, time = event["step"], event["t"]
        used = 0
        for name, value in event["v"].items():
            rows = points.get(name)
            last = rows[-1][0] if rows else self._last_step(name)
            # A series only grows.
            if step <= last or not is_value(value):
                batch.passed_over += 1
                continue
            number = NONFINITE[value] if type(value) is str else float(value)
            points[name].append((step, number, time))
            used += 1
            if name in summary or len(summary) < MOST_SUMMARY or name in losses:
                summary[name] = value
        if not used:
            return
        batch.fields["step"] = max(step, batch.fields["step"])
        add_losses(batch.spark, step, *(self._added(name, step) for name in losses))
        accuracy = self._added("val/acc", step)
        if accuracy is not None and 0 <= accuracy <= 1:
            best = batch.fields.get("best_acc", self.run.best_acc)
            if best is None or accuracy > best:
                batch.fields |= {"best_acc": accuracy, "best_step": step}

    def _last_step(self, name: str) -> float:
        """The last step of a series; infinity if its name is none that a series can have."""
        is_name = 0 < len(name) <= LONGEST_NAME
        return last_step(self.writer, self.batch, name) if is_name else math.inf

    def _added(self, name: str | None, step: int) -> float | None:
        """The value that this event has added to a series."""
        rows = self.batch.points.get(name) if name else None
        return rows[-1][1] if rows and rows[-1][0] == step else None

    def _choose_losses(self, new_names: set[str]) -> None:
        """Look for the training and the validation loss among the series that are new in this block."""
        record, spark = self.record, self.batch.spark
        for name in new_names:
            if better(name, record.train_loss, "train"):
                record.train_loss = name
                spark["train"] = [None] * len(spark["step"])
            elif better(name, record.val_loss, "val"):
                record.val_loss = name
                spark["val"] = [None] * len(spark["step"])
        self.losses = (record.train_loss, record.val_loss)

    def _start(self, event: Event) -> None:
        """Begin a session: what an earlier one logged at its first step or later is removed."""
        session, run, record, batch = self.session, self.run, self.record, self.batch
        first = event["from_step"]
        self.writer.load()
        if self.writer.series:
            if self.writer.trim(first - 1):
                publish(session, run.id, "rewind", {"run": run.id, "step": first - 1})
                batch.fields |= {"step": min(run.step, max(first - 1, 0))}
                batch.spark = trimmed(batch.spark, first - 1)
                if run.best_step is not None and run.best_step >= first:
                    batch.fields |= {"best_acc": None, "best_step": None}
            session.exec(delete(Finding).where(col(Finding.run) == run.key, col(Finding.step) >= first))
            session.exec(delete(Media).where(col(Media.run) == run.key, col(Media.step) >= first))
        if run.started_at is None:
            batch.fields["started_at"] = moment(event["t"])
        known = next((one for one in sessions_of(self.run_dir) if one.attempt == self.attempt), None)
        if known is not None and not event.get("again"):  # a session that repeats earlier steps starts again
            record.environment = known.script
            merge_config(record, batch, known.config)

    def _flush_lines(self) -> None:
        lines, run = self.batch.lines, self.run
        if not lines:
            return
        self.session.add_all(lines)
        self.session.flush()
        if len(lines) > LIVE_LINES:
            publish(
                self.session, run.id, "resync", {"run": run.id}
            )  # fetching many lines is faster than streaming them
        else:
            shown = [line.model_dump(exclude={"run"}) for line in lines]
            publish(self.session, run.id, "log", {"run": run.id, "lines": shown})


def record_of(session: Session, run: Run) -> ScriptRecord:
    found = session.exec(select(ScriptRecord).where(ScriptRecord.run == run.key)).first()
    return found or ScriptRecord(run=run.key or 0)
