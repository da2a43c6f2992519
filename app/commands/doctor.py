"""`trackside doctor`: list this machine's versions and devices, and check the home."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from app.auth.password import FILE
from app.cluster.ray_process import TOKEN_FILE
from app.commands.cluster_doctor import examine_home_cluster, examine_join
from app.host.devices import devices_in_words, find_devices, hidden_gpus
from app.host.home import readable_by_others, unusable
from app.host.network_home import caution
from app.settings import Settings, misspelled
from app.storage.db import Database, UnusableDatabase
from trainer.data.format import damaged_files, list_records
from trainer.system.parallel import available_cores


def examine(settings: Settings, console: Console, join: str | None = None, token: Path | None = None) -> int:
    """Print the results, one per line, and change nothing. Returns 1 if there is a problem, else 0.

    `join` is the address of a cluster that this machine is to join, with the `token` in that file. Raises ClusterError.
    """
    problems = list(misspelled(os.environ))
    facts = [
        f"python {sys.version.split()[0]}, " + ", ".join(f"{name} {version(name)}" for name in ("torch", "fastapi"))
    ]
    hidden = hidden_gpus()
    found = find_devices()
    devices = ", ".join(
        device.name if device.name == "cpu" else f"{device.name} {device.description}" for device in found.all
    )
    facts.append(f"devices: {devices}{'' if hidden is None else f' ({hidden})'}; {available_cores()} cores")
    problems += devices_in_words(found)
    home = settings.home.resolve()
    free = shutil.disk_usage(existing(home)).free
    facts.append(f"home {home}: {free / 1e9:.1f} GB free" + ("" if home.exists() else ", made when it is first used"))
    if free < 2e9:
        problems.append("less than 2 GB of disk is free")
    if (warning := caution(settings.home)) is not None:
        problems.append(warning)
    if not existing(home).is_dir():
        problems.append(str(unusable(home, "Not a directory")))
    elif not os.access(existing(home), os.R_OK | os.W_OK | os.X_OK):
        problems.append(str(unusable(home, "Permission denied")))
    elif home.exists():
        examine_home(settings, facts, problems)
    if join is not None:
        examine_join(join, token or Path(TOKEN_FILE), facts, problems)
    for line in facts:
        console.print(line, markup=False, highlight=False)
    for line in problems:
        console.print(line, style="red", markup=False)
    return 1 if problems else 0


def existing(path: Path) -> Path:
    """Return `path`, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.parents) if os.path.lexists(folder))


def examine_home(settings: Settings, facts: list[str], problems: list[str]) -> None:
    """Add to `facts` and `problems` who may read the home, and the state of its database and datasets."""
    shown = [str(path) for path in readable_by_others(settings)]
    if shown and str(settings.home) in shown:
        said = f"others may read {', '.join(shown[:5])}: chmod -R go= {settings.home.resolve()} makes the home private"
        (problems if (settings.access / FILE).exists() else facts).append(said)
    with closing(Database(settings.url)) as database:
        try:
            if database.exists():
                database.check()
                examine_home_cluster(settings, database, facts, problems)
            else:
                facts.append("database: none yet, made by `trackside serve`")
        except UnusableDatabase as error:
            problems.append(str(error))
    for record in list_records(settings.datasets):
        bad = damaged_files(settings.datasets, record)
        facts.append(f"dataset {record.name}: {'in order' if not bad else 'damaged'}")
        problems += [f"dataset {record.name}: {name} is not what was written" for name in bad]
