"""Change the schema, with Alembic."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import URL

from app.storage.migrations import FOLDER


def upgrade(url: URL | str) -> None:
    """Upgrade the schema to this version."""
    command.upgrade(alembic_config(url), "head")


def alembic_config(url: URL | str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["url"] = url
    return config
