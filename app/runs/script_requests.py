"""What a script's client sends when it registers a run, and what it is answered."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.fields import Line, Tags, Text

RESERVED = ("new", "latest")  # /runs/new, and the name of the latest model


def _free(run_id: str) -> str:
    if run_id.lower() in RESERVED:
        raise ValueError(f"must not be {run_id!r}")
    return run_id


ScriptId = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z_-]{0,31}$"), AfterValidator(_free)]
SessionId = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ScriptSession(BaseModel):
    """Unknown fields are ignored, so that a newer client can send to this server."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    session: SessionId = Field(description="One execution of the script; chosen by the client.")
    name: Line | None = Field(None, description="By default the name of the script, or the id.")
    project: Line = ""
    config: dict[str, Any] = Field({}, description="Settings, flat or nested.")
    group: Line | None = None
    tags: Tags = Field([])
    notes: Text = ""
    resume: Literal["allow", "never", "must"] = Field("allow", description="Whether the run may or must exist already.")
    script: dict[str, Any] = Field({}, description="Command, host, pid, git state, Python, packages.")


class Registered(BaseModel):
    id: str
    name: str
    url: str = Field(description="The run's page.")
    attempt: int
    offset: int = Field(description="How many bytes of this session's events the server has.")
    last_step: int = Field(description="The last step that was read; -1 before the first.")
    stop: bool = Field(description="Whether somebody has asked the script to stop.")


class Received(BaseModel):
    offset: int = Field(description="How many bytes of this session's events the server has.")
    stop: bool = Field(description="Whether somebody has asked the script to stop.")


class KeptFile(BaseModel):
    sha256: str
