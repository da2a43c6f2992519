"""`python -m tests.benchmarks.guidance [--only NAME] [--seed N] [--table]`: are the checks and findings right?

Trains planted faults and healthy runs, and counts the causes named, the false problems, and the remedies that helped.
Appends each result to docs/guidance.jsonl as soon as it is available; `--table` writes docs/guidance.md from them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from app.commands.demo import STEPS
from tests.benchmarks.guidance_cases import FAMILIES, FAULTS, HEALTHY, Case
from tests.benchmarks.guidance_data import BASES
from tests.benchmarks.guidance_table import write_table
from tests.benchmarks.rows import data_root, machine
from trainer.errors import TrainerError
from trainer.loop import train
from trainer.plan.prepared import prepared
from trainer.rundir.creation import create_run_dir
from trainer.rundir.events import EventWriter, walk

RECORD = Path(__file__).parents[2] / "docs" / "guidance.jsonl"
EXAMPLE_SEEDS = range(10)
PROBLEMS = ("warn", "fail")
BETTER_ACCURACY = 0.02
BETTER_LOSS = 0.95


@dataclass(frozen=True)
class Trained:
    """What a run ended with: its findings by kind, its test results (none if it diverged), and its processor time."""

    findings: dict[str, dict[str, Any]]
    summary: dict[str, float]
    seconds: float

    def kinds(self, levels: tuple[str, ...]) -> list[str]:
        """Findings of these levels that still hold at the end and are no symptom of another one."""
        return [
            kind
            for kind, item in self.findings.items()
            if item["level"] in levels and not item.get("ended") and not item["evidence"].get("cause")
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose names contain this, or one of several: a|b")
    parser.add_argument("--seed", type=int, default=100, help="seed of datasets and weights")
    parser.add_argument("--part", default="0/1", help="1/3: the second third of the cases")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kind", choices=("fault", "healthy", "example"))
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--table", action="store_true", help="only write the table")
    options = parser.parse_args()
    if not options.table:
        for line in results(options):
            with options.record.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(_shown(line), flush=True)
    if options.record == RECORD:
        write_table(RECORD)


def results(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    only, seed, kind, threads = options.only, options.seed, options.kind, options.threads
    part, parts = map(int, options.part.split("/"))
    about = {"seed": seed, "date": f"{date.today()}", "commit": commit(), "machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), seed, threads)
        for case in (*FAULTS, *HEALTHY)[part::parts]:
            name = "healthy" if case.healthy else "fault"
            if any(word in case.name for word in only.split("|")) and kind in (None, name) and bench.has(case.dataset):
                yield {"kind": name, "case": case.name, **bench.judge(case), **about}
    if kind in (None, "example") and only in "example":
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(Path(folder), seed, threads)
            for number in EXAMPLE_SEEDS[part::parts]:
                yield {"kind": "example", "case": f"example, seed {number}", **bench.example(number), **about}


class Bench:
    def __init__(self, folder: Path, seed: int, threads: int) -> None:
        self._folder, self._seed, self._threads = folder, seed, threads
        self._runs = 0

    def has(self, dataset: str) -> bool:
        """Whether the dataset can be made: photos needs CIFAR-100."""
        try:
            return dataset in BASES and bool(self._dataset(dataset, None))
        except KeyError:
            print(f"{dataset}: left out, no CIFAR-100 here")
            return False

    def judge(self, case: Case) -> dict[str, Any]:
        dataset = self._dataset(case.dataset, case)
        settings = {**case.settings, "seed": self._seed, "threads": self._threads}
        preset = FAMILIES[case.family].preset
        found = self._train(self._folder / "data", dataset, preset, settings)
        problems = found.kinds(PROBLEMS)
        line: dict[str, Any] = {
            "dataset": case.dataset,
            "family": case.family,
            "problems": problems,
            "reviews": found.kinds(("look",)),
            "ended": [kind for kind, item in found.findings.items() if item.get("ended")],
            "acc": found.summary.get("test/acc"),
            "seconds": round(found.seconds, 1),
        }
        if case.healthy:
            return {**line, "false": problems}
        named = [kind for kind in [*problems, *found.kinds(("look",))] if kind in case.causes]
        line |= {"named": bool(named), "others": [kind for kind in problems if kind not in case.causes]}
        remedied = next((found.findings[kind] for kind in named if "remedy" in found.findings[kind]["evidence"]), None)
        if remedied is None:
            return line
        remedy = remedied["evidence"]["remedy"]
        after = self._train(self._folder / "data", dataset, preset, {**settings, **remedy["overrides"]})
        line["remedy"] = {"label": remedy["label"], "before": found.summary.get("test/acc"),
                          "after": after.summary.get("test/acc"),
                          "helped": helped(remedied["kind"], found, after)}  # fmt: skip
        return line

    def example(self, number: int) -> dict[str, Any]:
        """The run that `make run` trains first, with another seed."""
        found = self._train(data_root(), "shapes100", "baseline-cnn",
                            {"max_steps": STEPS, "seed": number, "threads": self._threads})  # fmt: skip
        return {
            "false": [
                *found.kinds(("look", *PROBLEMS)),
                *(kind for kind in found.kinds(("info",)) if not kind.startswith("check/")),
            ],
            "ended": [kind for kind, item in found.findings.items() if item.get("ended")],
            "acc": found.summary.get("test/acc"),
            "seconds": round(found.seconds, 1),
        }

    def _dataset(self, base: str, case: Case | None) -> str:
        spoiled = case.name if case is not None and case.spoil is not None else ""
        name = "".join(letter if letter.isalnum() else "-" for letter in f"{base} {spoiled}".strip())
        if not (self._folder / "data" / name).exists():
            arrays = BASES[base](self._seed)
            if case is not None and case.spoil is not None:
                arrays = case.spoil(arrays)
            arrays.write(self._folder / "data", name)
        return name

    def _train(self, root: Path, dataset: str, preset: str, settings: Mapping[str, Any]) -> Trained:
        ready = prepared(dataset, preset, settings, root)
        self._runs += 1
        folder = self._folder / "runs" / f"{self._runs}"
        create_run_dir(folder, ready.spec, ready.record, {})
        events = EventWriter(folder, 1)
        summary: dict[str, float] = {}
        began = time.process_time()
        try:
            summary = train(folder, root, "cpu", 1, events, lambda: False).summary
        except TrainerError as error:
            print(f"  {error}")
        finally:
            events.close()
        return Trained(findings_of(folder), summary, time.process_time() - began)


def findings_of(folder: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for _, event in walk(folder):
        if event["e"] == "finding":
            found[event["kind"]] = event
        elif event["e"] == "finding_ended" and event["kind"] in found:
            found[event["kind"]]["ended"] = event["step"]
    return found


def helped(kind: str, before: Trained, after: Trained) -> bool:
    """Whether the copy is better: the accuracy by two points, or the loss by 5% at no lower accuracy.

    Leaks and disagreeing splits make the result of the run itself unreliable: there the finding has to be gone.
    """
    if kind in ("leak", "splits_disagree"):
        return kind not in after.kinds(PROBLEMS)
    if not after.summary or not before.summary:
        return bool(after.summary)
    name = "test/balanced_acc" if "test/balanced_acc" in before.summary else "test/acc"
    gained = after.summary[name] - before.summary[name]
    lower = after.summary["last/test/loss"] < BETTER_LOSS * before.summary["last/test/loss"]
    return gained > BETTER_ACCURACY or (gained > -BETTER_ACCURACY and lower)


def commit() -> str:
    asked = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def _shown(line: dict[str, Any]) -> str:
    kept = {k: v for k, v in line.items() if k not in ("date", "commit", "machine", "dataset", "family", "seed")}
    return json.dumps(kept)


if __name__ == "__main__":
    main()
