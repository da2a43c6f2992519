"""`trackside doctor`: what this machine has, and whether the home is in order."""

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
    """Print findings, one a line. Returns 1 if something is wrong."""
    faults: list[str] = []
    say = [f"python {sys.version.split()[0]}, " + ", ".join(f"{name} {version(name)}" for name in ("torch", "fastapi"))]
    say.append(f"devices: {', '.join(find_devices('auto'))}; {available_cores()} cores")
    settings.home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.home).free
    say.append(f"home {settings.home.resolve()}: {free / 1e9:.1f} GB free")
    if free < 2e9:
        faults.append("less than 2 GB of disk is free")
    if (told := caution(settings.home)) is not None:
        faults.append(told)
    try:
        database = Database(settings.url)
        database.migrate()
        database.close()
    except SchemaTooNew as error:
        faults.append(str(error))
    for record in list_records(settings.datasets):
        bad = damaged_files(settings.datasets, record)
        say.append(f"data set {record.name}: {'in order' if not bad else 'damaged'}")
        faults += [f"data set {record.name}: {name} is not what was written" for name in bad]
    for line in say:
        console.print(line, markup=False, highlight=False)
    for line in faults:
        console.print(line, style="red", markup=False)
    return 1 if faults else 0
