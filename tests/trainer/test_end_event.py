"""The `end` event is written once the run's memory is free, since the worker starts the next run upon it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.trainer.engine import odd_networks
from trainer.data.format import read_record
from trainer.process.assignment import Assignment
from trainer.process.trainer import run_trainer
from trainer.rundir.creation import create_run_dir
from trainer.rundir.events import Event, EventWriter
from trainer.spec.preset import build_spec


class Witness(EventWriter):
    """Counts the networks that exist when the `end` event is written."""

    existing: int | None = None

    def _write(self, event: Event) -> None:
        if event["e"] == "end":
            Witness.existing = sum(reference() is not None for reference in odd_networks.alive)
        super()._write(event)


@pytest.mark.parametrize(("network", "status"), [("watched", 0), ("broken", 1)])
def test_the_network_is_gone_when_the_run_ends(
    tmp_path: Path, shapes: Path, caplog: pytest.LogCaptureFixture, network: str, status: int
) -> None:
    overrides = {
        "model.name": f"tests.trainer.engine.odd_networks:{network}", "model.widths": [], "model.dropout": 0,
        "compile": "off", "checks": "off", "max_steps": 4,
    }  # fmt: skip
    spec = build_spec("shapes100", "baseline-cnn", overrides)
    create_run_dir(tmp_path / "r", spec, read_record(shapes, "shapes100"), {})
    odd_networks.alive.clear()
    caplog.set_level(logging.CRITICAL)  # a captured record would keep the traceback, and so the network
    assert run_trainer(Assignment(str(tmp_path / "r"), str(shapes), "cpu", 1), Witness) == status
    assert odd_networks.alive
    assert Witness.existing == 0
