"""Derive classes and splits from the paths of images in a folder or zip.

    train/<class>/*  and  test/<class>/*      (val/ is used as test/; if there is a test/, val/ is added to train/)
    <class>/*                                 (a fifth of each class, drawn by a seed, becomes the test split)
    <superclass>/<class>/*                    (alone, or inside train/ and test/)

Enclosing folders are ignored, as are files of operating systems, such as __MACOSX.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from trainer.data.cifar100 import known_superclasses
from trainer.data.errors import BadLayout
from trainer.data.format import SPLITS, Split

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
TEST_FRACTION = 0.2
MAX_CLASSES = 20_000

_JUNK = {"__MACOSX", "Thumbs.db", "desktop.ini"}
_TRAIN_FOLDERS = {"train", "training"}
_TEST_FOLDERS = {"test", "testing"}
_VALIDATION_FOLDERS = {"val", "valid", "validation"}
_NAMED_PROBLEMS = 100
_LONGEST_PATH = 1024

Parts = tuple[str, ...]
Group = dict[Parts, list[Parts]]


@dataclass(frozen=True)
class Member:
    """One image: its path in the folder or zip, and its class."""

    path: str
    label: int


@dataclass(frozen=True)
class Layout:
    """Classes and images of a dataset. Members are in the order of the arrays: by class, then by path."""

    classes: list[str]
    superclasses: list[str] | None
    fine_to_coarse: list[int] | None
    members: dict[Split, list[Member]]

    @property
    def total(self) -> int:
        return sum(len(members) for members in self.members.values())


def plan_layout(files: Iterable[str], folders: Iterable[str] = (), *, seed: int = 0) -> Layout:
    """Return the layout of `files`, relative paths with forward slashes. `folders` serves to find empty ones.

    Raises BadLayout.
    """
    paths = [tuple(file.split("/")) for file in files]
    # A folder is kept as a path to a file with an empty name, so that parents are found the same way for both.
    paths += [(*folder.rstrip("/").split("/"), "") for folder in folders]
    paths = [path for path in paths if not is_junk(path)]
    refuse_names(paths)
    start = _wrapping_depth(paths)
    splits, start = _find_splits(paths, start)
    depth = _class_depth([path[start:] for path in paths])
    grouped = {split: _by_class(group, start, depth) for split, group in splits.items()}
    _check_classes(grouped)
    keys = sorted(grouped["train"], key=lambda key: (key[-1], key))
    members: dict[Split, list[Member]] = {
        split: [Member("/".join(path), label) for label, key in enumerate(keys) for path in sorted(group[key])]
        for split, group in grouped.items()
    }
    if "test" not in members:
        members = _split_off_test(members["train"], seed)
    classes, superclasses, fine_to_coarse = _name_classes(keys)
    return Layout(classes, superclasses, fine_to_coarse, members)


def is_junk(path: Parts) -> bool:
    return any(part in _JUNK or part.startswith(".") for part in path)


def is_image(path: Parts) -> bool:
    """Return whether the name is that of an image, and not of an operating system's file."""
    return path[-1].lower().endswith(IMAGE_ENDINGS) and not is_junk(path)


def refuse_names(paths: Iterable[Parts]) -> None:
    """Raises BadLayout: a name is too long, contains control characters or is not UTF-8."""
    _raise_if_any("Some names cannot be kept", [problem for path in paths if (problem := _name_problem(path))])


def _name_problem(path: Parts) -> str | None:
    name = "/".join(path)
    if len(name) > _LONGEST_PATH:
        return f"{name[:60]}…: longer than {_LONGEST_PATH} characters"
    if not name.isprintable() and any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        return f"{name!r}: a control character, or not UTF-8"
    return None


def _wrapping_depth(paths: list[Parts]) -> int:
    """Number of enclosing folders: each is the only folder on its level, and contains folders."""
    depth = 0
    while True:
        inside = [path for path in paths if len(path) > depth + 1]
        alone = len({path[depth] for path in inside}) == 1
        if not alone or not any(len(path) > depth + 2 for path in inside):
            return depth
        depth += 1


def _find_splits(paths: list[Parts], start: int) -> tuple[dict[Split, list[Parts]], int]:
    """Return the paths of each split, and the index of the part with the class. Without a test split, only "train".

    A class may be called "train" (one of CIFAR-100's is), so folders are splits only if all of them have split names.
    """
    names = {path[start].lower() for path in paths if len(path) > start + 1}
    has_test = bool(names & _TEST_FOLDERS)
    train_names = _TRAIN_FOLDERS | (_VALIDATION_FOLDERS if has_test else set())
    if not (
        names <= _TRAIN_FOLDERS | _TEST_FOLDERS | _VALIDATION_FOLDERS and names & _TRAIN_FOLDERS and names - train_names
    ):
        return {"train": paths}, start
    splits: dict[Split, list[Parts]] = {"train": [], "test": []}
    for path in paths:
        if len(path) > start + 1:
            splits["train" if path[start].lower() in train_names else "test"].append(path)
    return splits, start + 1


def _class_depth(paths: list[Parts]) -> int:
    """1 for <class>/<image>, 2 for <superclass>/<class>/<image>."""
    files = [path for path in paths if path and path[-1]]
    images = [path for path in files if path[-1].lower().endswith(IMAGE_ENDINGS)] or files
    if not images:
        raise BadLayout("There are no images.", detail=[])
    depths = {len(path) - 1 for path in images}
    if depths <= {1} or depths <= {2}:
        return depths.pop()
    usual = max((1, 2), key=lambda depth: sum(len(path) - 1 == depth for path in images))
    odd = ["/".join(path) for path in images if len(path) - 1 != usual]
    _raise_if_any("Images lie in folders of their class, at one depth; these do not", odd)
    raise AssertionError("depths differ, so some path is odd")


def _by_class(paths: list[Parts], start: int, depth: int) -> Group:
    """The images of each class folder, empty ones included. Files at another depth are not images."""
    group: Group = defaultdict(list)
    superclasses = set()
    for path in paths:
        inner = path[start:]
        if len(inner) > depth:
            images = group[inner[:depth]]
            if len(inner) == depth + 1 and inner[-1]:
                images.append(path)
        elif len(inner) == 2 and not inner[-1]:
            superclasses.add(inner[:1])
    for empty in superclasses - {key[:1] for key in group}:
        group[empty] = []
    return dict(group)


def _check_classes(grouped: dict[Split, Group]) -> None:
    keys = sorted({key for group in grouped.values() for key in group})
    problems = []
    for split, group in grouped.items():
        where = f" in {split}/" if len(grouped) > 1 else ""
        problems += [f"{'/'.join(key)}: no image{where}" for key in keys if not group.get(key)]
    if len(grouped) == 1:
        one = [key for key, images in grouped["train"].items() if len(images) == 1]
        problems += [f"{'/'.join(key)}: one image; to split off a test set takes two" for key in sorted(one)]
    _raise_if_any("Every class needs images in both splits", problems)
    if len(keys) < 2:
        raise BadLayout("There is only one class; it takes two.", detail=["/".join(key) for key in keys])
    if len(keys) > MAX_CLASSES:
        raise BadLayout(f"There are {len(keys):,} classes; at most {MAX_CLASSES:,} are taken.", detail=[])


def _name_classes(keys: list[Parts]) -> tuple[list[str], list[str] | None, list[int] | None]:
    classes = [key[-1] for key in keys]
    twice = sorted({name for name, following in pairwise(classes) if name == following})
    _raise_if_any("A class lies in one superclass only; these lie in several", twice)
    superclasses = sorted({key[0] for key in keys})
    if len(keys[0]) == 2 and len(superclasses) > 1:
        return classes, superclasses, [superclasses.index(key[0]) for key in keys]
    if known := known_superclasses(classes):
        return classes, *known
    return classes, None, None


def _split_off_test(members: list[Member], seed: int) -> dict[Split, list[Member]]:
    by_label = defaultdict(list)
    for member in members:
        by_label[member.label].append(member)
    splits: dict[Split, list[Member]] = {split: [] for split in SPLITS}
    for label, group in by_label.items():
        order = np.random.default_rng([seed, label]).permutation(len(group))
        chosen = set(order[: max(1, round(len(group) * TEST_FRACTION))].tolist())
        for index, member in enumerate(group):
            splits["test" if index in chosen else "train"].append(member)
    return splits


def _raise_if_any(message: str, problems: list[str]) -> None:
    if not problems:
        return
    named = problems[:_NAMED_PROBLEMS]
    if len(problems) > len(named):
        named.append(f"and {len(problems) - len(named):,} more")
    raise BadLayout(f"{message}: {problems[0]}{', …' if len(problems) > 1 else '.'}", detail=named)
