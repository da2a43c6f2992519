"""Write event files to rows, exactly once: the rows and the read position are committed in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import delete
from sqlmodel import Session, col, select

from app.host.workers import is_on_node
from app.jobs.batch import Batch, flush_points, last_step
from app.jobs.checkpoints import put_checkpoint
from app.jobs.tail import tail_of
from app.metrics.writer import SeriesWriter
from app.runs.public import public
from app.runs.values import put_metrics
from app.storage.changes import publish
from app.storage.tables import ACTIVE, Checkpoint, Finding, LogLine, Run, Status
from app.storage.transitions import guarded_update, move
from trainer.plan.schedule import epoch_of
from trainer.rundir.events import NONFINITE, Event, read_on
from trainer.rundir.folder import RunDir

SPARK_POINTS = 48
BEST = "best/"
ENDED = "ended"  # in a finding's evidence: the step since which it no longer holds


def ingest(session: Session, run: Run, run_dir: Path) -> Event | None:
    """Write the next block of `run`'s events to rows; call it until `is_behind` returns False.

    Runs in the caller's transaction, guarded by the run's claim. Returns the `end` event of the run's newest attempt
    if it was in this block, else None. Raises LostClaim.
    """
    events, tail = read_on(run_dir, tail_of(run))
    batch = Batch(spark={key: list(run.spark.get(key, [])) for key in ("step", "train", "val")})
    writer, old_spark = SeriesWriter(session, run.key or 0), run.spark
    for event in events:
        _apply(session, run, run_dir, writer, batch, event, tail.attempt)
    flush_points(session, run, writer, batch)
    batch.fields |= {"tail_attempt": tail.attempt, "tail_offset": tail.offset, "spark": batch.spark}
    status = batch.fields.pop("status", None)
    if status is not None and run.status == Status.STARTING:
        move(session, run, status, **batch.fields)
    else:
        guarded_update(session, run, **batch.fields)
    if "summary" in batch.fields:
        put_metrics(session, run)
    if events:
        publish(session, run.id, "status", public(run).live(spark=batch.spark != old_spark))
    return batch.end if tail.attempt == run.attempt else None


def _apply(
    session: Session, run: Run, run_dir: Path, writer: SeriesWriter, batch: Batch, event: Event, attempt: int
) -> None:
    match event["e"]:
        case "metrics":
            step, time = event["step"], event["t"]
            # A series only grows: a step that it has passed is from a superseded trainer that wrote on.
            new = {name: value for name, value in event["v"].items() if step > last_step(writer, batch, name)}
            for name, value in new.items():
                batch.points[name].append((step, NONFINITE[value] if isinstance(value, str) else value, time))
            batch.fields["step"] = max(step, batch.fields.get("step", 0))
            _summarize(run, batch, step, new)
        case "start":
            flush_points(session, run, writer, batch)
            _start(session, run, writer, batch, event)
        case "plan":
            batch.fields |= {"total_steps": event["total_steps"], "epochs": event["epochs"]}
        case "phase":
            batch.fields["phase"] = event["phase"]
            if event["phase"] == "training" or event["phase"] == "testing":
                batch.fields["status"] = Status.RUNNING
        case "epoch":
            batch.fields["epoch"] = event["epoch"]
        case "checkpoint":
            # From a node it may not have been copied yet: then it gets its row when it has.
            if not is_on_node(run.device) or RunDir(run_dir).sidecar(event["step"]).exists():
                put_checkpoint(session, run, event)
        case "pruned":
            session.exec(
                delete(Checkpoint).where(col(Checkpoint.run) == run.key, col(Checkpoint.step).in_(event["steps"]))
            )
        case "finding":
            values = {name: event[name] for name in ("step", "kind", "level", "message")}
            evidence = {name: value for name, value in event.get("evidence", {}).items() if name != ENDED}
            session.add(Finding(run=run.key or 0, time=event["t"], evidence=evidence, **values))
            publish(session, run.id, "finding", {"run": run.id, **values})
        case "finding_ended":
            _end_finding(session, run, event)
        case "log":
            line = LogLine(run=run.key or 0, attempt=attempt, time=event["t"], line=event["line"])
            session.add(line)
            session.flush()
            publish(session, run.id, "log", {"run": run.id, "lines": [line.model_dump(exclude={"run"})]})
        case "end":
            batch.end = event
            if event.get("summary"):
                batch.fields["summary"] = {**batch.fields.get("summary", run.summary), **event["summary"]}


def _device(run: Run, device: str) -> str:
    """The device as the run's row names it: a trainer on a node does not know the name of its node."""
    return run.device if run.device is not None and is_on_node(run.device) else device


def _end_finding(session: Session, run: Run, event: Event) -> None:
    """Record in the latest finding of the event's kind that it no longer holds."""
    kind, step = event["kind"], event["step"]
    query = select(Finding).where(col(Finding.run) == run.key, col(Finding.kind) == kind)
    row = session.exec(query.order_by(col(Finding.key).desc())).first()
    if row is not None:
        row.evidence = {**row.evidence, ENDED: step}
        session.add(row)
        publish(session, run.id, "finding", {"run": run.id, "kind": kind, "step": row.step, ENDED: step})


def _reopen_findings(session: Session, run: Run, step: int) -> None:
    """Findings that ended after `step`, from which the run goes on, hold again."""
    for row in session.exec(select(Finding).where(col(Finding.run) == run.key)):
        ended = row.evidence.get(ENDED)
        if isinstance(ended, int) and ended > step:
            row.evidence = {name: value for name, value in row.evidence.items() if name != ENDED}
            session.add(row)


def _start(session: Session, run: Run, writer: SeriesWriter, batch: Batch, event: Event) -> None:
    step = event["from_step"]
    # A run that restarts at step 0 repeats its pre-training checks: their findings are deleted too.
    session.exec(delete(Finding).where(col(Finding.run) == run.key, col(Finding.step) > (step or -1)))
    _reopen_findings(session, run, step)
    if writer.trim(step):
        publish(session, run.id, "rewind", {"run": run.id, "step": step})
    # These checkpoints are no longer in the directory, or will be written again.
    session.exec(delete(Checkpoint).where(col(Checkpoint.run) == run.key, col(Checkpoint.step) > step))
    kept = sum(known <= step for known in batch.spark["step"])
    batch.spark = {key: column[:kept] for key, column in batch.spark.items()}
    best: dict[str, Any] = {}
    if run.best_step is not None and run.best_step > step:
        known = session.exec(
            select(Checkpoint).where(Checkpoint.run == run.key, Checkpoint.best).order_by(col(Checkpoint.step).desc())
        ).first()
        best = {"best_acc": None, "best_step": None, "best_epoch": None}
        figures = {}
        if known is not None:
            best = {"best_acc": known.metrics.get("val/acc"), "best_step": known.step, "best_epoch": known.epoch}
            figures = best_figures(known.metrics)
        summary = batch.fields.get("summary", run.summary)
        kept = {name: value for name, value in summary.items() if not name.startswith(BEST)}
        batch.fields["summary"] = kept | figures
    batch.fields |= {
        "step": step,
        "epoch": epoch_of(step, event["steps_per_epoch"]),
        "epochs": event["epochs"],
        "total_steps": event["total_steps"],
        "steps_per_epoch": event["steps_per_epoch"],
        "val_count": event["val_count"],
        "device": _device(run, event["device"]),
        **best,
    }
    if run.status not in ACTIVE:  # else its claim knows them, and an older attempt may have had others
        batch.fields["other_devices"] = event.get("others") or None
    if "parameters" in event:
        batch.fields["summary"] = {**batch.fields.get("summary", run.summary), "parameters": event["parameters"]}


def _summarize(run: Run, batch: Batch, step: int, values: dict[str, Any]) -> None:
    """Update what the list of runs shows: throughput, best validation accuracy, a sparkline of a few dozen points."""
    now = values.get("throughput")
    if isinstance(now, float | int):
        before = batch.fields.get("throughput", run.throughput)
        batch.fields["throughput"] = now if before is None else 0.8 * before + 0.2 * now
    if validated := {name: value for name, value in values.items() if name.startswith("val/")}:
        # Until the end event, the summary holds the latest validation, without what is no longer a number.
        kept = {**batch.fields.get("summary", run.summary), **validated}
        batch.fields["summary"] = {name: value for name, value in kept.items() if not isinstance(value, str)}
    if _is_best(run, batch, values):
        per_epoch = batch.fields.get("steps_per_epoch", run.steps_per_epoch) or 1
        batch.fields |= {"best_acc": values["val/acc"], "best_step": step, "best_epoch": epoch_of(step, per_epoch)}
        batch.fields["summary"] = batch.fields.get("summary", run.summary) | best_figures(values)
    spark = batch.spark
    train, val = values.get("train/loss"), values.get("val/loss")
    total = batch.fields.get("total_steps", run.total_steps) or 1
    if isinstance(val, float) and spark["step"]:
        spark["val"][-1] = val
    elif isinstance(train, float) and (
        not spark["step"] or step == total or step - spark["step"][-1] >= max(1, total // SPARK_POINTS)
    ):
        for key, value in (("step", step), ("train", train), ("val", None)):
            spark[key].append(value)


def _is_best(run: Run, batch: Batch, values: dict[str, Any]) -> bool:
    """Whether a validation is the best so far, by the figure that the run selects its checkpoint by."""
    select_by = run.spec.get("select_by", "acc")
    now = values.get(f"val/{select_by}")
    if not isinstance(now, float | int) or not isinstance(values.get("val/acc"), float | int):
        return False
    best_acc = batch.fields.get("best_acc", run.best_acc)
    if best_acc is None:
        return True
    before = batch.fields.get("summary", run.summary).get(f"{BEST}{select_by}", best_acc)
    return bool(now < before if select_by == "loss" else now > before)


def best_figures(values: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a validation as the summary holds those of the best one: best/acc, best/macro_f1, …"""
    return {
        name.replace("val/", BEST): value
        for name, value in values.items()
        if name.startswith("val/") and isinstance(value, float | int)
    }
