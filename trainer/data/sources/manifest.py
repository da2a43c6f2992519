"""Read a manifest: a CSV or JSONL file that names images and their classes.

Its first line names the columns; file and label are required, under any of the names below. Read as well are the CSV
files of Kaggle competitions (files by id, without an ending), `metadata.csv` and `metadata.jsonl` of Hugging Face's
imagefolder, and the CSV export of Label Studio.
https://huggingface.co/docs/datasets/image_dataset#imagefolder, https://labelstud.io/guide/export#CSV
"""

import codecs
import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from trainer.data.errors import BadManifest
from trainer.data.format import SPLIT_NAMES, Split
from trainer.data.sources.names import LONGEST_PATH, composed, named_problems

LARGEST_BYTES = 256 << 20
MOST_ROWS = 1_000_000

FILE_COLUMNS = (
    *("file_name", "filename", "file", "file_path", "filepath", "filepaths", "path"),
    *("image", "image_path", "image_name", "image_id", "img", "id"),
)
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "choice", "target", "species", "breed")
SPLIT_COLUMNS = ("split", "subset", "data_set", "set")
GROUP_COLUMNS = ("group", "group_id")
WEIGHT_COLUMNS = ("weight", "sample_weight")

_DELIMITERS = ",;\t|"
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16's does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SPACES = re.compile(r"[\s_]+")
_SHOWN = 60

Values = Mapping[str, Any]
NumberedValues = Iterator[tuple[int, Values]]


class ManifestRow(NamedTuple):
    """One image. `line` counts from 1. `split` and `group` are None where the manifest has no such column."""

    line: int
    file: str
    label: str
    split: Split | None
    group: str | None
    weight: float


@dataclass(frozen=True)
class Columns:
    """The columns of a manifest, as it spells them, that are read."""

    file: str
    label: str
    split: str | None
    group: str | None
    weight: str | None


@dataclass(frozen=True)
class Manifest:
    """`name` is the path of its file, relative to the images where it lies among them."""

    name: str
    columns: Columns
    header: list[str]
    rows: list[ManifestRow] = field(repr=False)

    @property
    def other_columns(self) -> list[str]:
        """The columns that may be groups."""
        read = (self.columns.file, self.columns.label, self.columns.split, self.columns.weight)
        return [column for column in self.header if column and column not in read]


def read_manifest(name: str, content: bytes, *, group_column: str | None = None) -> Manifest:
    """Read the content of a manifest. `group_column` names the column of groups if it is not called group.

    Raises BadManifest, whose detail lists the problems with their line numbers.
    """
    if len(content) > LARGEST_BYTES:
        raise BadManifest(f"{name} has more than {LARGEST_BYTES:,} bytes.", detail=[])
    text = _decoded(name, content)
    header, numbered = _read_jsonl(name, text) if _is_jsonl(name, text) else _read_csv(name, text)
    columns = find_columns(header, group_column)
    if columns is None:
        shown = ", ".join(column[:_SHOWN] for column in header[:20]) or "none"
        raise BadManifest(
            f"{name} needs a column of files, such as file_name, and one of classes, such as label. "
            f"Its columns: {shown}.",
            detail=[],
        )
    if group_column is not None and columns.group is None:
        raise BadManifest(f"{name} has no column {group_column[:_SHOWN]!r}.", detail=header[:100])
    rows: list[ManifestRow] = []
    problems: list[str] = []
    for line, values in numbered:
        if len(rows) >= MOST_ROWS:
            raise BadManifest(f"{name} has more than {MOST_ROWS:,} rows.", detail=[])
        row = _row(line, values, columns)
        if isinstance(row, str):
            problems.append(f"line {line:,}: {row}")
        else:
            rows.append(row)
    refuse_problems(name, problems)
    if not rows:
        raise BadManifest(f"{name} has no rows.", detail=[])
    return Manifest(name, columns, header, rows)


def names_images(name: str, content: bytes) -> bool:
    """Return whether this is a manifest: a CSV or JSONL that can be read, with columns of files and of classes."""
    try:
        text = _decoded(name, content)
        header, _ = _read_jsonl(name, text) if _is_jsonl(name, text) else _read_csv(name, text)
    except BadManifest:
        return False
    return find_columns(header) is not None


def find_columns(header: Sequence[str], group_column: str | None = None) -> Columns | None:
    """The columns that are read, or None if there is none of files or none of classes."""
    by_name = {_SPACES.sub("_", column.strip().lower()): column for column in reversed(header)}

    def first(names: Sequence[str]) -> str | None:
        return next((by_name[name] for name in names if name in by_name), None)

    file, label = first(FILE_COLUMNS), first(LABEL_COLUMNS)
    if file is None or label is None:
        return None
    groups = GROUP_COLUMNS if group_column is None else [_SPACES.sub("_", group_column.strip().lower())]
    return Columns(file, label, first(SPLIT_COLUMNS), first(groups), first(WEIGHT_COLUMNS))


def refuse_problems(name: str, problems: Sequence[str]) -> None:
    """Raises BadManifest if there are any."""
    if problems:
        more = ", …" if len(problems) > 1 else "."
        raise BadManifest(f"{name} cannot be imported: {problems[0]}{more}", detail=named_problems(problems))


def _row(line: int, values: Values, columns: Columns) -> ManifestRow | str:
    """The row, or what is wrong with it."""

    def text(column: str) -> str:
        return _text(values.get(column))

    file, label = text(columns.file), composed(text(columns.label))
    if not file:
        return "no file"
    if len(file) > LONGEST_PATH or not file.isprintable():
        return f"{file[:_SHOWN]!r} cannot be the name of a file"
    if not label:
        return f"{file[:_SHOWN]}: no class"
    if not label.isprintable() or len(label) > LONGEST_PATH:
        return f"{file[:_SHOWN]}: {label[:_SHOWN]!r} cannot be the name of a class"
    split: Split | None = None
    if columns.split is not None:
        written = text(columns.split)
        split = SPLIT_NAMES.get(written.lower())
        if split is None:
            is_named = f"the split {written[:_SHOWN]!r} is none of" if written else "no split; it is one of"
            return f"{file[:_SHOWN]}: {is_named} train, val and test"
    group = None if columns.group is None else composed(text(columns.group))
    if group == "":
        return f"{file[:_SHOWN]}: no {columns.group}"
    weight = 1.0
    if columns.weight is not None:
        written = text(columns.weight)
        try:
            weight = float(written.replace(",", "."))
        except ValueError:
            weight = math.nan
        if not (math.isfinite(weight) and weight >= 0):
            return f"{file[:_SHOWN]}: the weight {written[:_SHOWN]!r} is no number from 0 on"
    return ManifestRow(line, file, label, split, group, weight)


def _text(value: Any) -> str:
    """A value of a CSV or JSON as text, without spaces around it; "" for what has no text of one line."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return ""


def _decoded(name: str, content: bytes) -> str:
    """As UTF-8, or as the byte order mark says; else as code page 1252, which Excel writes as "CSV"."""
    encoding = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if content.startswith(mark)), None)
    try:
        if encoding is not None:
            return content.decode(encoding)
        try:
            text = content.decode()
        except UnicodeDecodeError:
            text = content.decode("cp1252")
    except UnicodeDecodeError as error:
        raise BadManifest(f"{name} is no text file: {error}.", detail=[]) from None
    if "\0" in text:
        raise BadManifest(f"{name} is no text file, or UTF-16 without a byte order mark.", detail=[])
    return text


def _is_jsonl(name: str, text: str) -> bool:
    return name.lower().endswith((".jsonl", ".ndjson")) or text.lstrip().startswith("{")


def _read_jsonl(name: str, text: str) -> tuple[list[str], NumberedValues]:
    """The keys of the first row, and the rows with their line numbers."""

    def parsed() -> NumberedValues:
        for line, written in enumerate(text.split("\n"), 1):
            if not written.strip():
                continue
            try:
                values = json.loads(written)
            except (ValueError, RecursionError):
                values = None
            if not isinstance(values, dict):
                raise BadManifest(f"{name} cannot be imported: line {line:,} is no JSON object.", detail=[])
            yield line, values

    first = next(parsed(), (0, {}))[1]
    return list(first), parsed()


def _read_csv(name: str, text: str) -> tuple[list[str], NumberedValues]:
    """The header, and the rows with their line numbers. The delimiter is the one that gives the columns needed."""
    lines = io.StringIO(text, newline="").readlines()
    start = next((index for index, line in enumerate(lines) if line.strip()), 0)
    delimiter, header = ",", [""]
    for tried in _DELIMITERS:
        found = next(csv.reader(lines[start:], delimiter=tried), [])
        if find_columns(found) is not None:
            delimiter, header = tried, found
            break
        if len(found) > len(header):
            delimiter, header = tried, found
    header = [column.strip() for column in header]
    if twice := sorted({column for column in header if column and header.count(column) > 1}):
        raise BadManifest(f"{name} has two columns {twice[0][:_SHOWN]!r}.", detail=twice)

    def rows() -> NumberedValues:
        reader = csv.reader(lines[start:], delimiter=delimiter)
        after = start
        try:
            for values in reader:
                line, after = after + 1, start + reader.line_num
                if line == start + 1 or not any(value.strip() for value in values):
                    continue
                if len(values) > len(header) and any(value.strip() for value in values[len(header) :]):
                    raise BadManifest(
                        f"{name} cannot be imported: line {line:,} has {len(values)} values for {len(header)} columns.",
                        detail=[],
                    )
                yield line, dict(zip(header, values, strict=False))
        except csv.Error as error:
            raise BadManifest(f"{name} cannot be imported: line {after + 1:,}: {error}.", detail=[]) from None

    return header, rows()
