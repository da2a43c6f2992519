"""`python -m tests.benchmarks [NAME…]`: run all or the named benchmarks.

docs/benchmarks.md shows the latest results of each, on each make of processor.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

from tests.benchmarks import (
    attacked,
    augmentation,
    client,
    cluster,
    cluster_scale,
    databases,
    directory,
    imports,
    ingest,
    larger,
    launch,
    live,
    load,
    long,
    predict,
    scale,
    search,
    training,
    upload,
    viewers,
    web,
)
from tests.benchmarks.rows import Row, machine
from trainer.system.machine import processor_name

BENCHMARKS = {
    "training": training.measure,
    "augmentation": augmentation.measure,
    "launch": launch.measure,
    "live": live.measure,
    "ingest": ingest.measure,
    "databases": databases.measure,
    "larger": larger.measure,
    "upload": upload.measure,
    "search": search.measure,
    "client": client.measure,
    "imports": imports.measure,
    "cluster": cluster.measure,
    "cluster_scale": cluster_scale.measure,
    "web": web.measure,
    "scale": scale.measure,
    "viewers": viewers.measure,
    "predict": predict.measure,
    "directory": directory.measure,
    "load": load.measure,
    "attacked": attacked.measure,
}
DOCS = Path(__file__).parents[2] / "docs"
RECORD, PAGE = DOCS / "benchmarks.json", DOCS / "benchmarks.md"
WORDS = {True: "yes", False: "**no**", None: ""}

Record = dict[str, dict[str, dict[str, Any]]]  # by benchmark, then by processor


def main(names: list[str]) -> None:
    for name in names or BENCHMARKS:
        rows = []
        for row in BENCHMARKS[name]():
            rows.append(row)
            print(f"{row.what}: {row.measured} (mark: {row.mark or 'none'})", flush=True)
        record: Record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
        record.setdefault(name, {})[processor_name()] = entry(rows)
        RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        PAGE.write_text(page(record))


def entry(rows: list[Row]) -> dict[str, Any]:
    return {"date": f"{date.today()}", "machine": machine(), "rows": [dataclasses.asdict(row) for row in rows]}


def page(record: Record) -> str:
    lines = [
        "# Benchmarks",
        "",
        "Measured by `make bench`, each line's ratios and distributions in one run. The machine is shared: ratios tell",
        "more than single figures.",
    ]
    measured = [found for name in BENCHMARKS for found in record.get(name, {}).values()]
    for where in dict.fromkeys((found["machine"], found["date"]) for found in measured):
        lines += ["", f"{where[1]}: {where[0]}.", "", "| what | mark | measured | reached |", "|---|---|---|---|"]
        for found in measured:
            if (found["machine"], found["date"]) == where:
                rows = [Row(**row) for row in found["rows"]]
                lines += [f"| {row.what} | {row.mark} | {row.measured} | {WORDS[row.passed]} |" for row in rows]
    lines += ["", "Whole runs on real CIFAR-100, by `make bench-long` (each with its commit in long-runs.jsonl):", ""]
    return "\n".join([*lines, *long.table(), ""])


if __name__ == "__main__":
    main(sys.argv[1:])
