"""The services of the web process: created once from the settings, and injected into route handlers by type."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_type_hints

from fastapi import Depends, Request

from app.alerts.store import Alerts
from app.auth.authenticate import Authentication, Principal
from app.auth.shares import Shares
from app.datasets.datasets import Datasets
from app.datasets.editing import DatasetEditor
from app.datasets.statistics import DatasetStatistics
from app.datasets.uploads import Uploads
from app.diagnosis.findings import Findings
from app.jobs.tasks import Tasks
from app.metrics.reader import Metrics
from app.models.ensembles import Ensembles
from app.models.evaluations import Evaluations
from app.models.files import ModelFiles
from app.models.onnx import OnnxFiles
from app.models.registry import ModelRegistry
from app.models.warming import warm_all
from app.prediction.client import PredictorClient
from app.reports.store import Reports
from app.runs.launching import Launcher
from app.runs.queue import Queue
from app.runs.runs import Runs
from app.runs.script_data import ScriptData
from app.runs.scripts import Scripts
from app.runs.views import Views
from app.search.searches import Searches
from app.settings import Settings
from app.storage.db import Database
from app.web.feed import Feed
from app.web.script_limits import ScriptLimits
from app.web.upload_file import remove_remains
from app.web.upload_memory import MemoryBudget


@dataclass(frozen=True)
class Services:
    settings: Settings
    authentication: Authentication
    database: Database
    feed: Feed
    runs: Runs
    launcher: Launcher
    queue: Queue
    scripts: Scripts
    script_data: ScriptData
    script_limits: ScriptLimits
    views: Views
    alerts: Alerts
    searches: Searches
    reports: Reports
    shares: Shares
    metrics: Metrics
    findings: Findings
    datasets: Datasets
    dataset_editor: DatasetEditor
    statistics: DatasetStatistics
    tasks: Tasks
    models: ModelRegistry
    model_files: ModelFiles
    onnx_files: OnnxFiles
    ensembles: Ensembles
    evaluations: Evaluations
    predictor: PredictorClient
    file_uploads: Uploads
    uploads: MemoryBudget

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the background tasks while the web process serves; close everything at the end."""
        await asyncio.to_thread(remove_remains, self.settings.uploads)
        await asyncio.to_thread(self.dataset_editor.finish_renames)
        await self.feed.start()
        background = [
            asyncio.create_task(warm_all(self.models, self.predictor)),
            asyncio.create_task(self.authentication.write_uses_periodically()),
        ]
        yield
        for task in background:
            task.cancel()
        self.authentication.write_uses()
        await self.feed.stop()
        await self.predictor.close()
        self.statistics.close()
        self.database.close()


def services_of(settings: Settings) -> Services:
    """Create the services. The database must have been migrated."""
    database = Database(settings.url)
    runs = Runs(database, settings)
    launcher = Launcher(database, settings)
    tasks = Tasks(database, settings)
    model_files = ModelFiles(runs, settings)
    models, datasets = ModelRegistry(runs), Datasets(settings.datasets)
    return Services(
        settings=settings,
        authentication=Authentication(settings),
        database=database,
        feed=Feed(database, settings.max_streams, settings.recheck_seconds),
        runs=runs,
        launcher=launcher,
        queue=Queue(database, settings),
        scripts=Scripts(database, settings),
        script_data=ScriptData(database, settings),
        script_limits=ScriptLimits(),
        views=Views(settings.home),
        alerts=Alerts(settings.access),
        searches=Searches(database, settings, launcher, runs),
        reports=Reports(settings.reports),
        shares=Shares(settings.access),
        metrics=Metrics(database),
        findings=Findings(database, runs, launcher),
        datasets=datasets,
        dataset_editor=DatasetEditor(database, settings),
        statistics=DatasetStatistics(settings.datasets, settings.cache),
        tasks=tasks,
        models=models,
        model_files=model_files,
        onnx_files=OnnxFiles(model_files, tasks),
        ensembles=Ensembles(model_files, tasks),
        evaluations=Evaluations(models, model_files, tasks, runs, datasets),
        predictor=PredictorClient(settings),
        file_uploads=Uploads(settings),
        uploads=MemoryBudget.of(settings),
    )


def _dependency(kind: type) -> Any:
    """Return a dependency that provides the service of type `kind`."""
    types = get_type_hints(Services)
    name = next(field.name for field in fields(Services) if types[field.name] is kind)

    async def get(request: Request) -> Any:
        return getattr(request.app.state.services, name)

    return Depends(get)


async def _principal(request: Request) -> Principal | None:
    principal: Principal | None = request.state.principal
    return principal


SettingsDep = Annotated[Settings, _dependency(Settings)]
DatabaseDep = Annotated[Database, _dependency(Database)]
RunsDep = Annotated[Runs, _dependency(Runs)]
LauncherDep = Annotated[Launcher, _dependency(Launcher)]
QueueDep = Annotated[Queue, _dependency(Queue)]
SearchesDep = Annotated[Searches, _dependency(Searches)]
ReportsDep = Annotated[Reports, _dependency(Reports)]
SharesDep = Annotated[Shares, _dependency(Shares)]
ScriptDataDep = Annotated[ScriptData, _dependency(ScriptData)]
ScriptLimitsDep = Annotated[ScriptLimits, _dependency(ScriptLimits)]
ScriptsDep = Annotated[Scripts, _dependency(Scripts)]
AlertsDep = Annotated[Alerts, _dependency(Alerts)]
ViewsDep = Annotated[Views, _dependency(Views)]
ModelsDep = Annotated[ModelRegistry, _dependency(ModelRegistry)]
ModelFilesDep = Annotated[ModelFiles, _dependency(ModelFiles)]
OnnxFilesDep = Annotated[OnnxFiles, _dependency(OnnxFiles)]
EnsemblesDep = Annotated[Ensembles, _dependency(Ensembles)]
EvaluationsDep = Annotated[Evaluations, _dependency(Evaluations)]
FindingsDep = Annotated[Findings, _dependency(Findings)]
MetricsDep = Annotated[Metrics, _dependency(Metrics)]
DatasetsDep = Annotated[Datasets, _dependency(Datasets)]
DatasetEditorDep = Annotated[DatasetEditor, _dependency(DatasetEditor)]
StatisticsDep = Annotated[DatasetStatistics, _dependency(DatasetStatistics)]
FileUploadsDep = Annotated[Uploads, _dependency(Uploads)]
TasksDep = Annotated[Tasks, _dependency(Tasks)]
FeedDep = Annotated[Feed, _dependency(Feed)]
PredictorDep = Annotated[PredictorClient, _dependency(PredictorClient)]
AuthenticationDep = Annotated[Authentication, _dependency(Authentication)]
PrincipalDep = Annotated[Principal | None, Depends(_principal)]  # None: no credentials are needed
