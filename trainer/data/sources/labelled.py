"""Derive classes and splits from a manifest: which file each row names, and what is wrong with the rows.

Without a manifest, folders are the classes (layout.py).
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from trainer.data.cifar100 import known_superclasses
from trainer.data.errors import BadLayout, BadOption, UnreadableSource
from trainer.data.format import SPLIT_NAMES, Split
from trainer.data.sources.layout import find_splits, plan_layout, wrapping_depth
from trainer.data.sources.manifest import Manifest, ManifestRow, names_images, read_manifest, refuse_problems
from trainer.data.sources.members import MAX_CLASSES, Layout, Member, draw_test, in_order
from trainer.data.sources.names import (
    composed,
    count_others,
    is_junk,
    is_photo,
    may_be_image,
    raise_if_any,
    refuse_deep,
    refuse_names,
)

_NAMES = ("manifest", "metadata", "labels", "train_labels", "train")
_ENDINGS = (".csv", ".jsonl")
_SHOWN = 3
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")  # of Label Studio

Read = Callable[[str], bytes]


@dataclass(frozen=True)
class Labelling:
    """What decides on classes and groups besides the folders.

    `manifest` is the path of a CSV or JSONL, `manifest_name` what it is called in messages; None to take one that lies
    beside the images. Groups are in the manifest's column `group_column`, by default "group", or are the folders of
    level `group_level`, from 1.
    """

    manifest: Path | None = None
    manifest_name: str | None = None
    group_level: int | None = None
    group_column: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Of the fields as a task's request holds them; others are ignored."""
        path = values.get("manifest")
        named = {name: values.get(name) for name in ("manifest_name", "group_level", "group_column")}
        return cls(None if path is None else Path(path), **named)

    def read(self) -> Manifest | None:
        """The manifest that was given, or None. Raises BadManifest, UnreadableSource."""
        if self.manifest is None:
            return None
        name = self.manifest_name or self.manifest.name
        try:
            content = self.manifest.read_bytes()
        except OSError as error:
            raise UnreadableSource(f"{name} cannot be read: {error.strerror}.") from None
        return read_manifest(name, content, group_column=self.group_column)


def plan_import(
    files: list[str],
    folders: list[str],
    read: Read,
    labelling: Labelling = Labelling(),
    *,
    given: Manifest | None = None,
    seed: int = 0,
) -> Layout:
    """Return the layout by the manifest that is given or lies beside the images, or else by the folders.

    Raises BadLayout, BadManifest, BadOption, UnreadableSource.
    """
    given = given or labelling.read()
    manifests = [given] if given else find_manifests(files, read, group_column=labelling.group_column)
    if manifests:
        level = labelling.group_level
        return plan_manifests(files, manifests, seed=seed, group_level=level, beside=given is None)
    if labelling.group_column is not None:
        raise BadOption("group_column names a column of a manifest, and there is none.", detail={})
    return plan_layout(files, folders, seed=seed, group_level=labelling.group_level)


def find_manifests(files: Iterable[str], read: Read, *, group_column: str | None = None) -> list[Manifest]:
    """The manifest that lies beside the images, or those that lie in the folders of the splits; [] if none does.

    A CSV or JSONL is one if it has a name such as metadata.csv, and columns of files and of classes. `read` returns
    the content of a file. Raises BadManifest, and what `read` raises.
    """
    paths = [path for file in files if not is_junk(path := tuple(file.split("/")))]
    top = _common_folders([path for path in paths if is_photo(path[-1])])
    found = [path for path in paths if len(path) <= top + 2 and _is_manifest_name(path[-1])]
    found = [path for path in found if len(path) <= top + 1 or path[-2].lower() in SPLIT_NAMES]
    found.sort(key=lambda path: (len(path), _NAMES.index(path[-1].lower().rsplit(".", 1)[0]), path))
    named = [(path, content) for path in found if names_images(path[-1], content := read("/".join(path)))]
    if not named:
        return []
    first = named[0][0]
    chosen = [named[0]] if len(first) <= top + 1 else [(path, it) for path, it in named if path[-1] == first[-1]]
    return [read_manifest("/".join(path), content, group_column=group_column) for path, content in chosen]


def plan_manifests(
    files: Iterable[str],
    manifests: Sequence[Manifest],
    *,
    seed: int = 0,
    group_level: int | None = None,
    beside: bool = True,
) -> Layout:
    """Return the layout of the images that the manifests name. Other files are counted, and not imported.

    Without a column of splits, folders such as train/ and test/ are the splits. `group_level` says that the folders of
    this level, from 1, are groups. `beside` says that the manifests lie among the files. Raises BadManifest, whose
    detail gives the numbers of the lines; BadLayout.
    """
    files = list(files)
    refuse_deep(files)
    listing = _Files(files)
    rows: list[tuple[str, ManifestRow]] = []
    for manifest in manifests:
        rows += _found_rows(listing, manifest, manifest.name.rpartition("/")[0] if beside else "", group_level)
    refuse_names([tuple(path.split("/")) for path, _ in rows])
    _refuse_doubled(rows, manifests[0].name)
    labels = sorted({row.label for _, row in rows})
    if all(label.isdecimal() for label in labels):
        labels.sort(key=int)
    numbers = {label: number for number, label in enumerate(labels)}
    groups = sorted({group for path, row in rows if (group := _group(path, row, group_level)) is not None})
    group_numbers = {name: number for number, name in enumerate(groups)}
    splits = _splits(rows, manifests)
    members: dict[Split, list[Member]] = {}
    for split in dict.fromkeys(splits):
        members[split] = in_order(
            Member(
                path,
                numbers[row.label],
                group_numbers[group] if (group := _group(path, row, group_level)) is not None else None,
                row.weight,
            )
            for (path, row), its_split in zip(rows, splits, strict=True)
            if its_split == split
        )
    _check_classes(labels, members)
    drawn = None if "test" in members else seed
    if drawn is not None:
        members |= draw_test(members["train"], drawn)
    superclasses, fine_to_coarse = known_superclasses(labels) or (None, None)
    return Layout(
        labels,
        superclasses,
        fine_to_coarse,
        members,
        drawn,
        count_others(listing.other_names({path for path, _ in rows}, {one.name for one in manifests}), []),
        groups or None,
        ", ".join(manifest.name for manifest in manifests),
        manifests[0].other_columns,
        any(manifest.columns.weight is not None for manifest in manifests),
    )


class _Files:
    """The files beside a manifest, found by what its rows call them."""

    def __init__(self, files: list[str]) -> None:
        self._files = [file for file in files if not is_junk(tuple(file.split("/")))]
        self._exact = {composed(file): file for file in self._files}
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for file in self._files:
            name = composed(file.rsplit("/", 1)[-1])
            if is_photo(name) or may_be_image(name):
                self._by_name[name].append(file)
                self._by_stem[name.rsplit(".", 1)[0]].append(file)

    def find(self, written: str, folder: str, hint: str) -> list[str]:
        """The files that `written` may mean: [] if none does. `folder` is the manifest's, `hint` its name."""
        wanted = _path(written)
        for exact in (f"{folder}{wanted}", wanted):
            if exact in self._exact:
                return [self._exact[exact]]
        name = wanted.rsplit("/", 1)[-1]
        found = _ending_with(wanted, self._by_name.get(name, []))
        found = found or _ending_with(wanted, self._by_stem.get(name, []), stem=True)
        if not found and (original := _UPLOAD_PREFIX.sub("", name)) != name:
            found = self._by_name.get(original, [])
        if len(found) > 1:  # Kaggle's train.csv names files in train/, and test/ may have files of the same names
            found = [file for file in found if f"/{file.lower()}".find(f"/{hint}") >= 0] or found
        return found

    def other_names(self, imported: set[str], manifests: set[str]) -> list[str]:
        """The names of the files that are neither imported nor, by path or name, manifests."""
        names = ((file, file.rsplit("/", 1)[-1]) for file in self._files if file not in imported)
        return [name for file, name in names if manifests.isdisjoint((file, name))]


def _path(written: str) -> str:
    """The relative path that a row means: a URL of Label Studio has the path of the file, or names it in its query."""
    if written.startswith(("/data/local-files/", "http://", "https://", "file://", "s3://", "gs://")):
        parts = urlsplit(written)
        written = unquote(parse_qs(parts.query).get("d", [parts.path])[0])
    written = composed(written.replace("\\", "/"))
    while written.startswith("./"):
        written = written[2:]
    return written.lstrip("/")


def _ending_with(wanted: str, files: list[str], *, stem: bool = False) -> list[str]:
    """Those whose path ends as the wanted one; absolute paths of another machine end as those of the files."""
    if "/" not in wanted:
        return files
    shown = {file: composed(file.rsplit(".", 1)[0] if stem else file) for file in files}
    exact = [file for file, path in shown.items() if f"/{path}".endswith(f"/{wanted}")]
    return exact or [file for file, path in shown.items() if f"/{wanted}".endswith(f"/{path}")]


def _found_rows(
    listing: _Files, manifest: Manifest, folder: str, group_level: int | None
) -> list[tuple[str, ManifestRow]]:
    hint = "train" if manifest.name.rsplit("/", 1)[-1].lower().startswith("train") else "\0"
    rows, problems = [], []
    for row in manifest.rows:
        found = listing.find(row.file, f"{folder}/" if folder else "", hint)
        if len(found) == 1 and (group_level is None or found[0].count("/") >= group_level):
            rows.append((found[0], row))
        elif len(found) == 1:
            problems.append(f"line {row.line:,}: {row.file} lies in fewer than {group_level} folders")
        elif found:
            several = ", ".join(found[:_SHOWN])
            problems.append(f"line {row.line:,}: {row.file} may be any of {len(found):,} files: {several}")
        else:
            problems.append(f"line {row.line:,}: there is no file {row.file}")
    refuse_problems(manifest.name, problems)
    return rows


def _refuse_doubled(rows: list[tuple[str, ManifestRow]], name: str) -> None:
    """A file in two rows is refused, since one of them would decide in silence."""
    first: dict[str, ManifestRow] = {}
    problems = []
    for path, row in rows:
        other = first.setdefault(path, row)
        if other is not row:
            differs = "" if other.label == row.label else f", once as {other.label} and once as {row.label}"
            problems.append(f"lines {other.line:,} and {row.line:,}: {path} is named twice{differs}")
    refuse_problems(name, problems)


def _group(path: str, row: ManifestRow, level: int | None) -> str | None:
    return row.group if level is None else composed(path.split("/")[level - 1])


def _splits(rows: list[tuple[str, ManifestRow]], manifests: Sequence[Manifest]) -> list[Split]:
    """The split of each row: by the column, or else by the folders."""
    if any(manifest.columns.split is not None for manifest in manifests):
        return [row.split or "train" for _, row in rows]
    paths = [tuple(path.split("/")) for path, _ in rows]
    found, _ = find_splits(paths, paths, wrapping_depth(paths))
    split_of = {path: split for split, inside in found.items() for path in inside}
    return [split_of.get(path, "train") for path in paths]


def _check_classes(labels: Sequence[str], members: dict[Split, list[Member]]) -> None:
    if len(labels) < 2:
        raise BadLayout("There is only one class; it takes two.", detail=list(labels))
    if len(labels) > MAX_CLASSES:
        raise BadLayout(f"There are {len(labels):,} classes; at most {MAX_CLASSES:,} are taken.", detail=[])
    has_groups = any(member.group is not None for some in members.values() for member in some)
    problems = []
    for split in ("train", "test"):
        present = {member.label for member in members.get(split, [])}
        if split in members or split == "train":
            problems += [f"{name}: no image in {split}" for number, name in enumerate(labels) if number not in present]
    if "test" not in members and not has_groups:
        counts: dict[int, int] = defaultdict(int)
        for member in members.get("train", []):
            counts[member.label] += 1
        problems += [
            f"{name}: one image; to split off a test set takes two"
            for number, name in enumerate(labels)
            if counts[number] == 1
        ]
    raise_if_any("Every class needs images to train on and to test with", problems)


def _common_folders(images: Sequence[tuple[str, ...]]) -> int:
    """How many folders hold all images."""
    if not images:
        return 0
    first, last = min(images), max(images)
    shared = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first[:-1], last[:-1], strict=False))
    return sum(1 for _ in shared)


def _is_manifest_name(name: str) -> bool:
    stem, dot, ending = name.lower().rpartition(".")
    return stem in _NAMES and dot + ending in _ENDINGS
