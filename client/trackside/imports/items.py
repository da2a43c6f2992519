"""What the files of other tools hold, one by one, and the source that reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, Union

from trackside.request import Wanted

LATEST = 2e11  # UNIX seconds that the server accepts


class Scalar(NamedTuple):  # the commonest by far: a dataclass takes longer to make
    name: str
    value: float


@dataclass(frozen=True)
class Text:
    name: str
    text: str


@dataclass(frozen=True)
class Images:
    name: str
    data: list[bytes]
    captions: list[str] = field(default_factory=list)  # of the first images, or none


@dataclass(frozen=True)
class Settings:
    values: dict[str, Any]


@dataclass(frozen=True)
class Environment:
    """As the client describes that of a script."""

    values: dict[str, Any]


@dataclass(frozen=True)
class Printed:
    lines: list[str]


@dataclass(frozen=True)
class Figures:
    """What the summary shows besides the latest value of each series."""

    values: dict[str, Any]


Item = Union[Scalar, Text, Images, Settings, Environment, Printed, Figures]
Entry = tuple[int, float, int, Item]  # position in the files, UNIX seconds, step, item


@dataclass(frozen=True)
class Described:
    """How the run is announced. `script` has the command and the host."""

    id: str
    wanted: Wanted
    script: dict[str, Any]


@dataclass(frozen=True)
class Ending:
    status: str = "finished"
    exit_code: int | None = None
    time: float = 0.0  # 0: that of the last value


class Unusable(Exception):
    """The files hold no run that could be imported."""


class Source(Protocol):
    """A run in files."""

    path: str
    began: float  # UNIX seconds; 0: when the first value was logged

    @property
    def left_out(self) -> Counter[str]:
        """How many values of which kinds have no place in a run of Trackside."""
        ...

    def entries(self) -> Iterable[Entry]:
        """Read what is new. Positions do not decrease within a kind of item. Raises Unusable."""
        ...

    def described(self) -> Described:
        """Describe the run, after its entries were read. Raises Unusable."""
        ...

    def ending(self) -> Ending | None:
        """Return how the run has ended; None where the files do not tell."""
        ...

    def damage(self) -> list[str]:
        """Say which parts of the files could not be read."""
        ...


def named(own: str, given: str, is_only: bool) -> str:
    """The name of a run for which another one was asked: that name, or behind it where there are several runs."""
    if not given:
        return own
    return given if is_only else f"{given}/{own}"
