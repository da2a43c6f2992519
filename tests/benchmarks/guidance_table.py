"""docs/guidance.md: the table of planted faults and healthy runs, made from the recorded results."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def write_table(record: Path) -> None:
    """Write the table of the latest result of each case beside `record`."""
    lines: dict[tuple[str, str, int], Line] = {}
    for text in record.read_text().splitlines():
        line = json.loads(text)
        key = (line["kind"], line["case"], line["seed"])
        lines.pop(key, None)
        lines[key] = line
    record.with_suffix(".md").write_text("\n".join(page([*lines.values()])) + "\n")


def page(lines: list[Line]) -> list[str]:
    faults = [line for line in lines if line["kind"] == "fault"]
    healthy = [line for line in lines if line["kind"] == "healthy"]
    example = [line for line in lines if line["kind"] == "example"]
    tried = [line["remedy"] for line in faults if "remedy" in line]
    latest, commits = lines[-1], Counter(line["commit"] for line in lines)
    return [
        "# Guidance: what the checks and findings get right",
        "",
        "Made by `python -m tests.benchmarks.guidance` from docs/guidance.jsonl, and not edited by hand. Planted",
        "faults and healthy runs are trained with the datasets of `tests/benchmarks/guidance_data.py`; a remedy is",
        "tried by a copy of the run.",
        "",
        f"Latest result: {latest['date']}, commit {latest['commit']}, {latest['machine']}.",
        "",
        f"Results by commit: {', '.join(f'{name}: {count}' for name, count in commits.items())}.",
        "",
        "| | result |",
        "|---|---|",
        f"| planted faults named | {sum(line['named'] for line in faults)} of {len(faults)} |",
        f"| healthy runs without a problem | {sum(not line['false'] for line in healthy)} of {len(healthy)} |",
        f"| healthy runs with a review | {sum(bool(line['reviews']) for line in healthy)} of {len(healthy)} |",
        f"| remedies that helped | {sum(item['helped'] for item in tried)} of {len(tried)} |",
        f"| seeds of the example without a finding | {sum(not line['false'] for line in example)} of {len(example)} |",
        "",
        "## Planted faults",
        "",
        "| fault | dataset, network | seed | named | other problems | remedy | test accuracy before, after |",
        "|---|---|---|---|---|---|---|",
        *(_fault(line) for line in faults),
        "",
        "## Healthy runs",
        "",
        "| run | seed | problems (false) | reviews | ended | test accuracy |",
        "|---|---|---|---|---|---|",
        *(
            f"| {line['case']} | {line['seed']} | {_names(line['false'])} | {_names(line.get('reviews', []))} "
            f"| {_names(line['ended'])} | {_percent(line['acc'])} |"
            for line in healthy + example
        ),
    ]


def _fault(line: Line) -> str:
    remedy = line.get("remedy")
    tried = "none" if remedy is None else f"{remedy['label']}: {'helped' if remedy['helped'] else '**did not help**'}"
    results = _percent(line["acc"]) if remedy is None else f"{_percent(remedy['before'])}, {_percent(remedy['after'])}"
    named = "yes" if line["named"] else "**no**"
    return (
        f"| {line['case']} | {line['dataset']}, {line['family']} | {line['seed']} | {named} "
        f"| {_names(line['others'])} | {tried} | {results} |"
    )


def _names(kinds: list[str]) -> str:
    return ", ".join(kinds) or "none"


def _percent(value: float | None) -> str:
    return "diverged" if value is None else f"{100 * value:.1f}%"
