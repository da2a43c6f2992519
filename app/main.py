"""The web process: `create_app(settings)` puts the parts together. It never imports torch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.templating import Jinja2Templates

from app import errors, formatting
from app.dataset_statistics import DatasetStatistics
from app.datasets import Datasets
from app.db import Database
from app.findings import Findings
from app.live import Feed
from app.metrics import Metrics
from app.model_registry import ModelRegistry
from app.predict import PredictorClient
from app.queueing import Queue
from app.ranges import Assets
from app.routes import (
    compare,
    dataset_explorer,
    datasets,
    docs,
    events,
    findings,
    health,
    mistakes,
    models,
    pages,
    predict,
    predict_batch,
    presets,
    queue,
    results,
    runs,
    system,
    tasks,
    v2,
)
from app.runs import Runs
from app.security import Guard
from app.settings import Settings
from app.tasks import Tasks
from app.warming import warm_all


def create_app(settings: Settings) -> FastAPI:
    """The application on a database that has been migrated already."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await feed.start()
        warming = asyncio.create_task(warm_all(app.state.models, client))
        yield
        warming.cancel()
        await feed.stop()
        await client.close()
        statistics.close()
        database.close()

    answers = errors.described({422: "A field is missing, unknown or out of bounds", "default": "Any other error"})
    app = FastAPI(title="Trackside", lifespan=lifespan, docs_url=None, redoc_url=None, responses=answers)
    database = Database(settings.url)
    feed = Feed(database, settings.max_streams)
    client = PredictorClient(settings)
    statistics = DatasetStatistics(settings.datasets, settings.cache)
    app.state.settings = settings
    app.state.database = database
    app.state.feed = feed
    app.state.predictor = client
    app.state.runs = Runs(database, settings)
    app.state.models = ModelRegistry(app.state.runs)
    app.state.queue = Queue(app.state.runs)
    app.state.findings = Findings(database, app.state.runs)
    app.state.metrics = Metrics(database)
    app.state.datasets = Datasets(settings.datasets)
    app.state.statistics = statistics
    app.state.tasks = Tasks(database, settings)
    app.state.templates = Jinja2Templates(asset_folder("templates"))
    formatting.install(app.state.templates.env)
    errors.install(app)
    app.add_middleware(Guard, settings=settings)
    for module in (
        runs,
        findings,
        mistakes,
        events,
        dataset_explorer,
        datasets,
        tasks,
        predict,
        predict_batch,
        models,
        v2,
        presets,
        queue,
        health,
        docs,
        compare,
        results,
        system,
        pages,
    ):
        app.include_router(module.router)
    app.mount("/static", Assets(directory=asset_folder("static")), name="static")
    return app


def asset_folder(name: str) -> Path:
    """Beside the packages in a checkout, inside of `app` in an installed wheel."""
    inside = Path(__file__).parent / name
    return inside if inside.is_dir() else Path(__file__).parent.parent / name
