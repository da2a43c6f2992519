"""The scopes of tokens, and the scopes that each request needs. Requests not listed here need `admin`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum


class Scope(StrEnum):
    READ = "read"
    PREDICT = "predict"
    LAUNCH = "launch"
    ADMIN = "admin"


MEANING = {
    Scope.READ: "look at everything but this page, and download it",
    Scope.PREDICT: "have images classified; fetch the tasks that classify zips by their ids",
    Scope.LAUNCH: "read and predict; launch, log, steer, edit and delete runs; add, edit, delete datasets; name models",
    Scope.ADMIN: "everything, tokens too",
}
_INCLUDED = {
    Scope.READ: {Scope.READ},
    Scope.PREDICT: {Scope.PREDICT},
    Scope.LAUNCH: {Scope.READ, Scope.PREDICT, Scope.LAUNCH},
    Scope.ADMIN: set(Scope),
}
_READ = (
    "/alerts", "/compare", "/datasets", "/docs", "/evaluations", "/lanes", "/metrics", "/models", "/openapi.json",
    "/predict", "/reports", "/results", "/runs", "/searches", "/shared", "/shares", "/system", "/v2", "/api/alerts",
    "/api/compare", "/api/datasets", "/api/evaluations", "/api/events", "/api/models", "/api/networks", "/api/nodes",
    "/api/presets", "/api/preview", "/api/reports", "/api/results", "/api/runs", "/api/scripts", "/api/searches",
    "/api/shares", "/api/system", "/api/tasks", "/api/uploads", "/api/views", "/api/workers",
)  # fmt: skip
_LAUNCH = (
    "/alerts", "/datasets", "/evaluations", "/models", "/reports", "/runs", "/searches", "/shares", "/views",
    "/api/alerts", "/api/datasets", "/api/evaluations", "/api/models", "/api/reports", "/api/runs", "/api/scripts",
    "/api/searches", "/api/shares", "/api/tasks", "/api/uploads", "/api/views",
)  # fmt: skip
_TASK = re.compile(r"/api/tasks/[^/]+(/file)?")
_OPEN = ("/login", "/healthz", "/readyz")
_ADMIN_ONLY: frozenset[Scope] = frozenset()


def granted(scopes: Iterable[Scope]) -> frozenset[Scope]:
    """Return `scopes` with those that they include."""
    return frozenset[Scope]().union(*(_INCLUDED[scope] for scope in scopes))


def is_open(path: str) -> bool:
    """Return whether a path needs no credentials: the login page, health checks and static files."""
    return path in _OPEN or path.startswith("/static/")


def sufficient_scopes(method: str, path: str) -> frozenset[Scope]:
    """Return the scopes of which any one suffices; `admin` always does, and is not listed."""
    if method in ("GET", "HEAD"):
        if _within(path, ("/v2",)):
            return frozenset({Scope.READ, Scope.PREDICT})  # clients of that protocol request a model's inputs
        if _TASK.fullmatch(path):
            return frozenset({Scope.READ, Scope.PREDICT})  # app/web/tasks.py shows the latter batch predictions alone
        return frozenset({Scope.READ}) if path == "/" or _within(path, _READ) else _ADMIN_ONLY
    if method == "POST" and (_within(path, ("/api/predict",)) or is_infer(path)):
        return frozenset({Scope.PREDICT})
    if method in ("POST", "PUT", "PATCH", "DELETE") and _within(path, _LAUNCH):
        return frozenset({Scope.LAUNCH})
    return _ADMIN_ONLY


def is_infer(path: str) -> bool:
    return path.startswith("/v2/models/") and path.endswith("/infer")


def _within(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root + "/") for root in roots)
