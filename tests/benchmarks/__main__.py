"""`python -m tests.benchmarks [NAME…]`: without names all are measured and docs/benchmarks.md is written."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

from tests.benchmarks import ingest, launch, live, long, predict, scale, training, viewers, web
from tests.benchmarks.rows import Row, machine

BENCHMARKS = {
    "training": training.measure,
    "launch": launch.measure,
    "live": live.measure,
    "ingest": ingest.measure,
    "web": web.measure,
    "scale": scale.measure,
    "viewers": viewers.measure,
    "predict": predict.measure,
}
PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
WORDS = {True: "yes", False: "**no**", None: ""}


def main(names: list[str]) -> None:
    rows = []
    for name in names or BENCHMARKS:
        for row in BENCHMARKS[name]():
            rows.append(row)
            print(f"{row.what}: {row.measured} (mark: {row.mark or 'none'})", flush=True)
    if not names:
        PAGE.write_text(page(rows))


def page(rows: list[Row]) -> str:
    lines = [
        "# Benchmarks",
        "",
        f"Measured by `make bench` on {date.today():%Y-%m-%d}: {machine()}.",
        "Ratios and distributions come from one run each. The machine is shared: ratios tell more than single figures.",
        "",
        "| what | mark | measured | reached |",
        "|---|---|---|---|",
        *(f"| {row.what} | {row.mark} | {row.measured} | {WORDS[row.passed]} |" for row in rows),
        "",
        "Whole runs on real CIFAR-100, by `make bench-long` (each with its commit in long-runs.jsonl):",
        "",
        *long.table(),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
