"""A report's text: Markdown in which fenced blocks named `chart` and `runs` stand for charts and tables of runs.

    ```chart
    title: With and without mixup
    runs: 3f2a9c1b7d, 81c0de55aa
    series: val/acc
    x: epoch
    ```

A block has a line per field. `runs` names runs by their ids, `find` searches for them as the list of runs does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from markdown_it import MarkdownIt
from markupsafe import Markup
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from app.display.markdown import MARKDOWN
from app.errors import ApiError
from app.fields import Line, LongLine
from app.runs.query import NEWEST_FIRST, RunQuery
from trainer.spec.messages import in_words

MOST_LINES = 12  # of a chart
MOST_ROWS = 100
MOST_BLOCKS = 50
XAxis = Literal["epoch", "step", "time"]


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        return [part for part in (part.strip() for part in value.split(",")) if part]
    return value


List = Annotated[tuple[Line, ...], BeforeValidator(_listed)]


class _RunsBlock(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Line = ""
    runs: Annotated[List, Field(max_length=MOST_ROWS)] = ()
    find: LongLine | None = None
    sort: Line = NEWEST_FIRST

    @model_validator(mode="after")
    def names_runs(self) -> _RunsBlock:
        if bool(self.runs) == (self.find is not None):
            raise ValueError("needs either runs or find")
        return self

    @field_validator("find")
    @classmethod
    def can_be_searched(cls, find: str | None) -> str | None:
        return RunQuery(q=find).q

    @field_validator("sort")
    @classmethod
    def can_be_sorted_by(cls, sort: str) -> str:
        return RunQuery(sort=sort).sort


class ChartBlock(_RunsBlock):
    """Lines of `series` over `x`: one per run and series, at most MOST_LINES. `x` is by epoch if all runs have some."""

    kind: Literal["chart"] = "chart"
    series: Annotated[List, Field(min_length=1, max_length=MOST_LINES)]
    x: XAxis | None = None
    limit: int = Field(MOST_LINES, ge=1, le=MOST_LINES)


class TableBlock(_RunsBlock):
    """A row per run. `columns` are columns of the list of runs: best, duration, any setting, any metric."""

    kind: Literal["runs"] = "runs"
    columns: Annotated[List, Field(max_length=MOST_LINES)] = ("status", "best", "duration")
    limit: int = Field(20, ge=1, le=MOST_ROWS)


@dataclass(frozen=True)
class Prose:
    html: Markup
    kind: Literal["prose"] = "prose"


Block = Prose | ChartBlock | TableBlock
_BLOCKS: Mapping[str, type[ChartBlock] | type[TableBlock]] = {"chart": ChartBlock, "runs": TableBlock}


def blocks_of(text: str) -> list[Block]:
    """Return what the text is made of, in order. Raises ApiError 422, which names the line of each mistake."""
    found: list[Block] = []
    problems: list[tuple[list[str], str]] = []
    for info, source, line in _parts(MARKDOWN, text):
        if info not in _BLOCKS:
            found.append(Prose(Markup(source)))
            continue
        try:
            found.append(_BLOCKS[info].model_validate(_fields(source, line)))
        except ValidationError as error:
            problems += [([f"line {line + 1}", *map(str, item["loc"])], in_words(item)) for item in error.errors()]
        except _NotAField as error:
            problems.append(([f"line {error.line + 1}"], "is not a field and its value, such as series: val/acc"))
    if len(found) > 2 * MOST_BLOCKS:
        problems.append((["text"], f"has more than {MOST_BLOCKS} charts and tables"))
    if problems:
        message = "; ".join(f"{': '.join(where)}: {reason}" for where, reason in problems)
        detail = [{"field": "text", "message": f"{': '.join(where)}: {reason}"} for where, reason in problems]
        raise ApiError(422, "invalid_report", message[:1000], detail)
    return found


class _NotAField(Exception):
    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def _fields(source: str, line: int) -> dict[str, Any]:
    """Return the fields of a block whose fence is at `line`. One that is written twice has both values."""
    fields: dict[str, Any] = {}
    for number, text in enumerate(source.splitlines(), line + 1):
        if not text.strip():
            continue
        name, colon, value = text.partition(":")
        name = name.strip()
        if not colon or not name:
            raise _NotAField(number)
        fields[name] = f"{fields[name]}, {value.strip()}" if name in fields else value.strip()
    return fields


def _parts(markdown: MarkdownIt, text: str) -> Iterator[tuple[str, str, int]]:
    """Yield (name, content, line from 0) of each of our blocks, and ("", HTML, line) of what stands between them."""
    tokens = markdown.parse(text)
    between = 0
    for index, token in enumerate(tokens):
        name = token.info.strip()
        if token.type != "fence" or token.level or name not in _BLOCKS:
            continue
        if index > between:
            yield "", markdown.renderer.render(tokens[between:index], markdown.options, {}), 0
        yield name, token.content, token.map[0] if token.map else 0
        between = index + 1
    if between < len(tokens):
        yield "", markdown.renderer.render(tokens[between:], markdown.options, {}), 0
