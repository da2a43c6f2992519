"""`trackside doctor`: list this machine's versions and devices, and check the home."""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import version

from rich.console import Console

from app.host.devices import find_devices
from app.host.network_home import caution
from app.settings import Settings
from app.storage.db import Database, SchemaTooNew
from trainer.data.format import damaged_files, list_records
from trainer.system.parallel import available_cores


def examine(settings: Settings, console: Console) -> int:
    """Print the results, one per line. Returns 1 if there is a problem, else 0."""
    problems: list[str] = []
    facts = [
        f"python {sys.version.split()[0]}, " + ", ".join(f"{name} {version(name)}" for name in ("torch", "fastapi"))
    ]
    facts.append(f"devices: {', '.join(find_devices('auto'))}; {available_cores()} cores")
    settings.home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.home).free
    facts.append(f"home {settings.home.resolve()}: {free / 1e9:.1f} GB free")
    if free < 2e9:
        problems.append("less than 2 GB of disk is free")
    if (warning := caution(settings.home)) is not None:
        problems.append(warning)
    try:
        database = Database(settings.url)
        database.migrate()
        database.close()
    except SchemaTooNew as error:
        problems.append(str(error))
    for record in list_records(settings.datasets):
        bad = damaged_files(settings.datasets, record)
        facts.append(f"data set {record.name}: {'in order' if not bad else 'damaged'}")
        problems += [f"data set {record.name}: {name} is not what was written" for name in bad]
    for line in facts:
        console.print(line, markup=False, highlight=False)
    for line in problems:
        console.print(line, style="red", markup=False)
    return 1 if problems else 0
