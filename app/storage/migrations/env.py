"""Alembic's entry point: runs the migrations on the URL that app.storage.db passes in."""

from alembic import context
from sqlalchemy import create_engine
from sqlmodel import SQLModel

import app.storage.tables  # noqa: F401  (fills the metadata)

engine = create_engine(context.config.attributes["url"])
with engine.begin() as connection:
    if engine.dialect.name == "postgresql":
        from app.storage.postgres import begin_migration

        begin_migration(connection)
    context.configure(connection=connection, target_metadata=SQLModel.metadata, render_as_batch=True)
    context.run_migrations()
engine.dispose()
