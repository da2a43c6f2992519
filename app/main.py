"""The web process: `create_app(settings)` assembles routers and middleware. It never imports torch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.auth.shares import Share
from app.reports.shared import shown_runs
from app.settings import Settings
from app.web import docs, events, health, tasks
from app.web.alerts import routes as alerts
from app.web.assets import Assets, asset_folder
from app.web.auth import routes as auth
from app.web.compare import routes as compare
from app.web.datasets import adding as dataset_adding
from app.web.datasets import pages as dataset_pages
from app.web.datasets import routes as datasets
from app.web.datasets import uploads as dataset_uploads
from app.web.errors import described, error_schemas, install_error_handlers
from app.web.gate import AuthMiddleware
from app.web.guard import Guard
from app.web.head import HeadMiddleware
from app.web.launch import preview
from app.web.launch import routes as launch
from app.web.models import evaluations
from app.web.models import files as model_files
from app.web.models import routes as models
from app.web.predict import batch as predict_batch
from app.web.predict import inference_protocol
from app.web.predict import page as predict_page
from app.web.predict import routes as predict
from app.web.reports import pages as report_pages
from app.web.reports import routes as reports
from app.web.results import routes as results
from app.web.root import RootMiddleware, root
from app.web.runs import findings, index, mistakes, queue
from app.web.runs import pages as run_pages
from app.web.runs import routes as runs
from app.web.runs import views as saved_views
from app.web.scripts import media as script_media
from app.web.scripts import routes as scripts
from app.web.search import pages as search_pages
from app.web.search import routes as searches
from app.web.services import services_of
from app.web.shares import pages as share_pages
from app.web.shares import routes as shares
from app.web.system import nodes
from app.web.system import routes as system
from app.web.templates import make_templates

# Routes are matched in this order.
PARTS = (
    predict,  # first, because prediction must be fast
    runs,
    searches,
    scripts,
    script_media,
    findings,
    mistakes,
    events,
    dataset_pages,
    datasets,
    dataset_adding,
    dataset_uploads,
    tasks,
    predict_batch,
    model_files,
    models,
    evaluations,
    inference_protocol,
    preview,
    queue,
    saved_views,
    health,
    docs,
    compare,
    results,
    search_pages,
    reports,
    report_pages,
    shares,
    share_pages,
    alerts,
    system,
    nodes,
    auth,
    predict_page,
    launch,  # before run_pages, whose /runs/{run_id} would match /runs/new
    index,
    run_pages,
)


class Application(FastAPI):
    def build_middleware_stack(self) -> ASGIApp:
        """The guard is outside of all else: an answer to an unexpected error carries the security headers too."""
        settings: Settings = self.state.services.settings
        stack: ASGIApp = Guard(HeadMiddleware(super().build_middleware_stack()), settings)
        if settings.trusted_proxies:
            stack = cast(ASGIApp, ProxyHeadersMiddleware(cast(Any, stack), list(settings.trusted_proxies)))
        return RootMiddleware(stack, settings)

    def openapi(self) -> dict[str, Any]:
        """Add to the document that a bearer token is accepted but not always required, and the path in front."""
        document = super().openapi()
        document["components"]["schemas"] |= error_schemas()
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}, {}]
        return {**document, "servers": [{"url": root()}]} if root() else document


def create_app(settings: Settings) -> FastAPI:
    """Create the application. The database must be migrated already."""
    services = services_of(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with services.running():
            yield

    async def runs_of(share: Share) -> frozenset[str]:
        return await run_in_threadpool(shown_runs, share, services.reports, services.runs)

    error_responses = described({422: "A field is missing, unknown or out of bounds", "default": "Any other error"})
    app = Application(title="Trackside", lifespan=lifespan, docs_url=None, redoc_url=None, responses=error_responses)
    app.state.services = services
    app.state.templates = make_templates()
    install_error_handlers(app)
    app.add_middleware(AuthMiddleware, services.authentication, services.shares, runs_of)
    for part in PARTS:
        app.include_router(part.router)
    app.mount("/static", Assets(directory=asset_folder("static")), name="static")
    return app
