"""The edge of every command: an error that its user can correct ends it with a sentence, not with a traceback."""

from __future__ import annotations

from typing import Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from app.commands.console import fail
from app.errors import CommandError
from app.settings import Settings, problems


class Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:  # typer's copy of click.Context, or click's
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None  # 128 + SIGINT, as shells have it
        except CommandError as error:
            raise fail(str(error)) from None
        except ValidationError as error:
            if error.title != Settings.__name__:
                raise
            raise fail("\n".join(problems(error))) from None
        except OSError as error:
            if error.filename is None:
                raise
            raise fail(f"{error.filename}: {error.strerror}") from None
