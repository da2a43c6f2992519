"""The OpenAPI document lists every operation and the schema of every response."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

import app.web


@pytest.fixture
def document(api: httpx.Client) -> dict[str, Any]:
    body: dict[str, Any] = api.get("/openapi.json").json()
    return body


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_call_that_programs_make_is_there(document: dict[str, Any]) -> None:
    run = "/api/runs/{run_id}"
    assert {name for name, _ in operations(document)} >= {
        "POST /api/runs", "GET /api/runs", f"GET {run}", f"PATCH {run}", f"DELETE {run}", f"POST {run}/stop",
        f"POST {run}/resume", f"POST {run}/clone", f"GET {run}/metrics", f"GET {run}/metrics.csv", f"GET {run}/events",
        f"GET {run}/log", f"GET {run}/log.txt", f"GET {run}/checkpoints", f"GET {run}/checkpoints/{{step}}/file",
        "GET /api/events",
        "GET /api/presets", "GET /api/datasets", "GET /api/datasets/{name}", "GET /api/workers", "POST /api/datasets",
        "DELETE /api/datasets/{name}", "PATCH /api/datasets/{name}", "POST /api/tasks/{task_id}/cancel",
        "DELETE /api/tasks/{task_id}",
        "GET /api/tasks/{task_id}", "POST /api/predict", "GET /healthz", "GET /readyz", "GET /metrics",
    }  # fmt: skip


def test_no_route_of_the_api_is_left_out(document: dict[str, Any]) -> None:
    found = set()
    for entry in pkgutil.walk_packages(app.web.__path__, "app.web."):
        router = getattr(importlib.import_module(entry.name), "router", None)
        found |= {route.path for route in router.routes if isinstance(route, APIRoute)} if router else set()
    calls = {path for path in found if path.startswith("/api/")}
    assert len(calls) > 15
    assert calls <= document["paths"].keys()


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in set(references(document)):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))


def test_every_error_is_described_as_it_is_sent(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status == "default" or status[0] in "45":
                assert list(references(answer)) == ["#/components/schemas/ErrorBody"], (name, status)
        if name.startswith(("GET /api/runs/{", "GET /api/datasets/{", "GET /api/tasks/{")):
            assert "404" in operation["responses"], name
        assert operation["responses"].keys() >= {"422", "default"}, name


def test_every_success_says_what_it_holds(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status[0] == "2" and status != "204":
                assert answer.get("content"), (name, status)
                for kind, content in answer["content"].items():
                    assert content.get("schema") or kind != "application/json", (name, status)


def test_it_says_how_a_token_is_sent(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    assert {"token": []} in document["security"]
