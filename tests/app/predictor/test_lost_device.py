"""A predictor whose GPU has failed is replaced by one that can use it again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from app.errors import ApiError
from app.prediction.answers import Answer
from app.prediction.client import PredictorClient
from app.settings import Settings
from tests.app.predictor.failing_network import VARIABLE
from tests.app.predictor.predict_home import (
    add_checkpoint,
    encode,
    make_dataset,
    random_image,
    running_predictor,
    serving_child,
    settings_for,
)
from tests.conftest import wait_for
from trainer.data.format import read_record
from trainer.rundir.creation import create_run_dir
from trainer.spec.dataset_spec import DatasetSpec
from trainer.spec.model_spec import ModelSpec
from trainer.spec.train_spec import TrainSpec

RUN = "0123456789"


def ask(settings: Settings) -> Answer:
    async def main() -> Answer:
        client = PredictorClient(settings)
        try:
            return await client.predict(RUN, [encode(random_image(1))], 5)
        finally:
            await client.close()

    return asyncio.run(main())


def test_the_process_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flag = tmp_path / "fails"
    monkeypatch.setenv(VARIABLE, str(flag))
    record = make_dataset(tmp_path)
    spec = TrainSpec(dataset=DatasetSpec(name="tiny"), model=ModelSpec(name="tests.app.predictor.failing_network:make"))
    folder = tmp_path / "runs" / RUN
    create_run_dir(folder, spec, read_record(tmp_path / "datasets", record.name), {"id": RUN, "name": "failing"})
    add_checkpoint(folder, spec, 10)
    settings = settings_for(tmp_path)
    flag.touch()

    def fails() -> bool:
        with suppress(ApiError):  # until the process has started; then the request itself
            ask(settings)
        return not flag.exists()

    def answers() -> bool:
        with suppress(ApiError):
            return len(ask(settings).results) == 1
        return False

    with running_predictor(settings) as process:
        first = serving_child(process.pid)
        wait_for(fails, 60, "the failure of the GPU")
        wait_for(lambda: not psutil.pid_exists(first.pid), 60, "the end of the process whose GPU failed")
        wait_for(answers, 60, "an answer of the next process")
