"""The settings of a command, with its options, and the home that it uses."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from app.settings import Settings


def chosen(**options: str | int | bool | None) -> Settings:
    """Return the settings. An option that was given replaces the environment variable."""
    values: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    return Settings(**values)


def home_settings(**options: str | int | bool | None) -> Settings:
    """Return the settings of a command that writes to the home, which is created if it is missing.

    Raises HomeUnusable.
    """
    settings = chosen(**options)
    prepare_home(settings)
    return settings


def prepare_home(settings: Settings) -> None:
    """Create the home if it is missing; make it private if a password is set. Raises HomeUnusable."""
    from app.auth.password import FILE
    from app.host.home import open_home

    open_home(settings, private=(settings.access / FILE).exists())


def check_database(settings: Settings) -> None:
    """Raises UnusableDatabase: it is missing or of another version. `serve` has migrated it for its children."""
    from app.storage.db import Database

    with closing(Database(settings.url)) as database:
        database.check()
