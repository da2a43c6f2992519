"""What route handlers ask for by type."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from fastapi import Depends, Request

from app.auth.authenticate import Access, Caller
from app.datasets.datasets import Datasets
from app.datasets.statistics import DatasetStatistics
from app.diagnosis.findings import Findings
from app.jobs.tasks import Tasks
from app.metrics.reader import Metrics
from app.models.ensembles import Ensembles
from app.models.files import ModelFiles
from app.models.onnx import OnnxFiles
from app.models.registry import ModelRegistry
from app.prediction.client import PredictorClient
from app.runs.queue import Queue
from app.runs.runs import Runs
from app.settings import Settings
from app.web.feed import Feed


def _state(name: str) -> Any:
    async def get(request: Request) -> Any:
        return getattr(request.app.state, name)

    return Depends(get)


class Serving(NamedTuple):
    """All that a prediction needs, asked for at once: each thing that is asked for costs it some ten microseconds."""

    settings: Settings
    models: ModelRegistry
    predictor: PredictorClient


async def _serving(request: Request) -> Serving:
    state = request.app.state
    return Serving(state.settings, state.models, state.predictor)


async def _caller(request: Request) -> Caller | None:
    caller: Caller | None = request.state.caller
    return caller


SettingsDep = Annotated[Settings, _state("settings")]
RunsDep = Annotated[Runs, _state("runs")]
QueueDep = Annotated[Queue, _state("queue")]
ModelsDep = Annotated[ModelRegistry, _state("models")]
ModelFilesDep = Annotated[ModelFiles, _state("model_files")]
OnnxFilesDep = Annotated[OnnxFiles, _state("onnx_files")]
EnsemblesDep = Annotated[Ensembles, _state("ensembles")]
FindingsDep = Annotated[Findings, _state("findings")]
MetricsDep = Annotated[Metrics, _state("metrics")]
DatasetsDep = Annotated[Datasets, _state("datasets")]
StatisticsDep = Annotated[DatasetStatistics, _state("statistics")]
TasksDep = Annotated[Tasks, _state("tasks")]
FeedDep = Annotated[Feed, _state("feed")]
ServingDep = Annotated[Serving, Depends(_serving)]
PredictorDep = Annotated[PredictorClient, _state("predictor")]
AccessDep = Annotated[Access, _state("access")]
CallerDep = Annotated[Caller | None, Depends(_caller)]  # None: nobody needs to say who asks
