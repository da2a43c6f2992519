"""The steps from each version of the schema to the next, run by Alembic."""

from pathlib import Path

FOLDER = Path(__file__).parent
REVISIONS = sorted(path.name[:4] for path in (FOLDER / "versions").glob("[0-9]*.py"))
