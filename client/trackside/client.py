"""`trackside.Client`: a server's runs, predictions, datasets and searches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from trackside.api import Api
from trackside.options import read_options
from trackside.predictions import Predicted, batches_of, predicted_of
from trackside.run_handle import RunHandle

PAGE = 100  # runs that are asked for at once


class Client:
    """Calls to a server. It holds no connection, and threads may share it. Every call raises ApiError.

    url: its address; TRACKSIDE_URL by default, or http://127.0.0.1:8000.
    token: TRACKSIDE_TOKEN by default, or what the file TRACKSIDE_TOKEN_FILE holds at each call.
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        """Raises UsageError: the address is not valid. The server is not asked yet."""
        self._api = Api(url or read_options("online").url, token)

    @property
    def url(self) -> str:
        return self._api.url

    def __repr__(self) -> str:
        return f"<Client of {self.url}>"

    def runs(self, limit: int | None = None, **filters: Any) -> Iterator[RunHandle]:
        """Yield runs, the newest first; they are fetched page by page while they are read.

        limit: the most that are yielded; all by default.
        filters: status, dataset, model, tag, group, project, starred, q (a search as on the page *Runs*) and sort, such
        as "-created_at", "optimizer.lr" or "-val/acc".
        """
        cursor, count = None, 0
        while limit is None or count < limit:
            size = PAGE if limit is None else min(PAGE, limit - count)
            page = self._api.get("/api/runs", **{**filters, "limit": size, "cursor": cursor})
            for data in page["items"]:
                yield RunHandle(self._api, data)
            count += len(page["items"])
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def run(self, id: str) -> RunHandle:
        """Return the run of this id. Raises ApiError 404: there is none."""
        return RunHandle(self._api, self._api.get(f"/api/runs/{quote(id, safe='')}"))

    def launch(
        self,
        dataset: str,
        preset: str,
        overrides: Mapping[str, Any] | None = None,
        name: str | None = None,
        tags: Sequence[str] = (),
        group: str | None = None,
        project: str | None = None,
    ) -> RunHandle:
        """Queue a run and return it. One call launches one run, even if its first answer is lost.

        overrides: settings by name, such as {"epochs": 3, "optimizer.lr": 1e-3}.

        Raises ApiError 422, whose `detail` names each field that is not valid.
        """
        body = {
            "dataset": dataset, "preset": preset, "overrides": dict(overrides or {}), "name": name,
            "tags": list(tags), "group": group, "project": project,
        }  # fmt: skip
        given = {field: value for field, value in body.items() if value is not None}
        return RunHandle(self._api, self._api.send("POST", "/api/runs", given, once=True))

    def predict(self, model: str, *paths: str | os.PathLike[str], top_k: int = 5) -> list[Predicted]:
        """Classify image files, and return an answer per file, in their order.

        model: a run's id, a model's name, or "latest". top_k: how many classes each answer names, the likeliest first.
        A file that is no image that can be read has an `error` and no predictions.
        """
        found: list[Predicted] = []
        for batch in batches_of(paths):
            found += predicted_of(self._api, model, batch, top_k)
        return found

    def datasets(self) -> list[dict[str, Any]]:
        """Return the datasets as GET /api/datasets does: name, classes, size (pixels), counts of images by split."""
        found: list[dict[str, Any]] = self._api.get("/api/datasets")
        return found

    def search(self, **body: Any) -> dict[str, Any]:
        """Begin a search, and return it as POST /api/searches does: id, status, trials, best.

        body: dataset, preset, space, such as {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}}, and sampler,
        pruner, objective, trials, device_minutes.
        """
        found: dict[str, Any] = self._api.send("POST", "/api/searches", body)
        return found

    def searches(self) -> list[dict[str, Any]]:
        """Return the searches, the newest first, without their trials."""
        found: list[dict[str, Any]] = self._api.get("/api/searches")
        return found
