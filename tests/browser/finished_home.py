"""A web process on a home with finished runs that nothing trained, for tests of pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.reports.store import NewReport, Reports
from app.runs.runs import Runs
from app.storage.db import Database
from app.supervisor import free_port
from tests.conftest import Server
from tests.databases import settings_of
from tests.finished_runs import finished_run

REPORT = """Two runs, and what *came* of them.

```chart
runs: {first}, {second}
series: val/acc
```

```runs
find: status:finished
columns: status, best, optimizer.lr, duration
```
"""


@dataclass
class FinishedHome:
    server: Server
    runs: Runs
    first: str
    second: str
    report: str

    @property
    def pages(self) -> dict[str, str]:
        """The path of every page, by a name."""
        run = f"/runs/{self.first}"
        return {
            "runs": "/", "filtered": "/?status=failed", "launch": "/runs/new", "clone": f"/runs/new?from={self.first}",
            "run": run, "checks": f"{run}?tab=checks", "errors": f"{run}?tab=errors", "log": f"{run}?tab=log",
            "setup": f"{run}?tab=setup", "compare": f"/compare?runs={self.first},{self.second}", "results": "/results",
            "data": "/datasets", "explorer": "/datasets/shapes100", "predict": f"/predict?model={self.first}",
            "models": "/models", "model": f"/models/{self.first}", "system": "/system", "tokens": "/tokens",
            "searches": "/searches", "alerts": "/alerts", "reports": "/reports", "report": f"/reports/{self.report}",
            "edit report": f"/reports/{self.report}/edit", "shares": "/shares",
            "missing": "/no-such-page",
        }  # fmt: skip


@contextmanager
def finished_home(folder: Path, shapes: Path) -> Iterator[FinishedHome]:
    (folder / "datasets").symlink_to(shapes)
    settings = settings_of(folder, port=free_port("127.0.0.1"))
    database = Database(settings.url)
    database.migrate()
    runs = Runs(database, settings)
    first = finished_run(runs, [0.2, 0.4, 0.5], wrong=range(40), name="first", tags=["keep", "a long tag"])
    second = finished_run(runs, [0.1, 0.2, 0.3], wrong=range(140), overrides={"epochs": 3, "optimizer.lr": 1e-4})
    text = REPORT.format(first=first, second=second)
    report = Reports(settings.reports).add(NewReport(title="Learning rates", text=text)).id
    server = Server(folder, settings)
    server.start("web")
    yield FinishedHome(server, runs, first, second, report)
    server.close()
    database.close()
