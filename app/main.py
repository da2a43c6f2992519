"""The web process: `create_app(settings)` puts the parts together. It never imports torch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.templating import Jinja2Templates

from app.auth.authenticate import Access
from app.datasets.datasets import Datasets
from app.datasets.statistics import DatasetStatistics
from app.diagnosis.findings import Findings
from app.jobs.tasks import Tasks
from app.metrics.reader import Metrics
from app.models.ensembles import Ensembles
from app.models.files import ModelFiles
from app.models.onnx import OnnxFiles
from app.models.registry import ModelRegistry
from app.models.warming import warm_all
from app.prediction.client import PredictorClient
from app.runs.queue import Queue
from app.runs.runs import Runs
from app.settings import Settings
from app.storage.db import Database
from app.web import docs, events, health, tasks
from app.web.auth import routes as access
from app.web.compare import routes as compare
from app.web.datasets import pages as dataset_explorer
from app.web.datasets import routes as datasets
from app.web.errors import described, install_error_handlers
from app.web.feed import Feed
from app.web.gate import Gate
from app.web.guard import Guard
from app.web.launch import preview as presets
from app.web.models import files as model_files
from app.web.models import routes as models
from app.web.predict import batch as predict_batch
from app.web.predict import inference_protocol as v2
from app.web.predict import page as predict_page
from app.web.predict import routes as predict
from app.web.ranges import Assets
from app.web.results import routes as results
from app.web.runs import findings, mistakes, pages, queue
from app.web.runs import routes as runs
from app.web.system import routes as system
from app.web.templates import install_filters


class Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """Says besides how a token is sent, and that one is not always needed."""
        document = super().openapi()
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}, {}]
        return document


def create_app(settings: Settings) -> FastAPI:
    """The application on a database that has been migrated already."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await feed.start()
        warming = asyncio.create_task(warm_all(app.state.models, client))
        noting = asyncio.create_task(entry.note_uses())
        yield
        warming.cancel()
        noting.cancel()
        entry.write_uses()
        await feed.stop()
        await client.close()
        statistics.close()
        database.close()

    answers = described({422: "A field is missing, unknown or out of bounds", "default": "Any other error"})
    app = Application(title="Trackside", lifespan=lifespan, docs_url=None, redoc_url=None, responses=answers)
    entry = Access(settings)
    database = Database(settings.url)
    feed = Feed(database, settings.max_streams, settings.recheck_seconds)
    client = PredictorClient(settings)
    statistics = DatasetStatistics(settings.datasets, settings.cache)
    app.state.settings = settings
    app.state.access = entry
    app.state.database = database
    app.state.feed = feed
    app.state.predictor = client
    app.state.runs = Runs(database, settings)
    app.state.models = ModelRegistry(app.state.runs)
    app.state.model_files = ModelFiles(app.state.runs)
    app.state.queue = Queue(app.state.runs)
    app.state.findings = Findings(database, app.state.runs)
    app.state.metrics = Metrics(database)
    app.state.datasets = Datasets(settings.datasets)
    app.state.statistics = statistics
    app.state.tasks = Tasks(database, settings)
    app.state.ensembles = Ensembles(app.state.model_files, app.state.tasks)
    app.state.onnx_files = OnnxFiles(app.state.model_files, app.state.tasks)
    app.state.templates = Jinja2Templates(asset_folder("templates"))
    install_filters(app.state.templates.env)
    install_error_handlers(app)
    app.add_middleware(Gate, access=entry)
    app.add_middleware(Guard, settings=settings)  # the outermost
    for module in (
        predict,  # first: routes are looked through in this order, and this one is to be quick
        runs,
        findings,
        mistakes,
        events,
        dataset_explorer,
        datasets,
        tasks,
        predict_batch,
        model_files,
        models,
        v2,
        presets,
        queue,
        health,
        docs,
        compare,
        results,
        system,
        access,
        predict_page,
        pages,
    ):
        app.include_router(module.router)
    app.mount("/static", Assets(directory=asset_folder("static")), name="static")
    return app


def asset_folder(name: str) -> Path:
    """Beside the packages in a checkout, inside of `app` in an installed wheel."""
    inside = Path(__file__).parent / name
    return inside if inside.is_dir() else Path(__file__).parent.parent / name
