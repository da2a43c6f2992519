"""What the parts of a spec have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]
# The context in which a run's spec is read: the version that queued it has checked it, and a later one may no longer
# know its network, or allow its combination of settings.
STORED = {"stored": True}
Share = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def impossible(reason: str, *fields: str) -> PydanticCustomError:
    """The error of an invalid combination of `fields`, all of which are named in the response."""
    return PydanticCustomError("impossible", "{reason}", {"reason": reason, "fields": fields})
