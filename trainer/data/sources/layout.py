"""Derive classes and splits from the paths of images in a folder or zip.

    train/<class>/*  and  test/<class>/*  and  val/<class>/*
    <class>/*
    <superclass>/<class>/*                    (alone, or inside train/ and test/)

Without test/, a fifth of each class, drawn by a seed, is moved from the training images to the test split. val/ (also
valid/, validation/ or dev/) is the validation split; without it, each run holds out a share of the training images.

Enclosing folders are ignored, as are files of operating systems, such as __MACOSX. Files that are no images by their
names are counted and left out; a folder that holds nothing else is neither a class nor a split.
"""

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise

from trainer.data.cifar100 import known_superclasses
from trainer.data.errors import BadLayout
from trainer.data.format import SPLIT_NAMES, Split
from trainer.data.sources.members import MAX_CLASSES, Layout, Member, draw_test, in_order
from trainer.data.sources.names import (
    Parts,
    composed,
    count_others,
    is_junk,
    is_photo,
    may_be_image,
    raise_if_any,
    refuse_deep,
    refuse_names,
)

ByClass = dict[Parts, list[Parts]]


def plan_layout(
    files: Iterable[str], folders: Iterable[str] = (), *, seed: int = 0, group_level: int | None = None
) -> Layout:
    """Return the layout of `files`, relative paths with forward slashes. `folders` serves to find empty ones.

    `group_level` says that the folders of this level, from 1, are groups: patients, sites or videos, which are never
    parted. They are neither classes nor splits. Raises BadLayout.
    """
    files, folders = list(files), list(folders)
    refuse_deep([*files, *folders])
    found = [path for file in files if not is_junk(path := tuple(file.split("/")))]
    certain, possible = _images(found)
    original: dict[Parts, Parts] = {}
    if group_level is not None:
        folders = []
        original = _without_level(certain, possible, group_level)
        certain, possible = _images([*original])
    # An empty folder is kept as a path to a file with an empty name, so that parents are found the same way for both.
    paths = certain + [(*folder, "") for folder in _empty_folders(folders, found, certain)]
    refuse_names(paths + possible)
    start = wrapping_depth(paths)
    splits, start = find_splits(paths, certain, start)
    depth = _class_depth(certain, start)
    grouped = {split: _by_class(group, start, depth) for split, group in splits.items()}
    _add_possible(grouped, possible)
    _check_classes(grouped)
    keys = sorted(grouped["train"], key=lambda key: (key[-1], key))
    imported = [path for group in grouped.values() for images in group.values() for path in images]
    groups = None if group_level is None else sorted({composed(original[path][group_level - 1]) for path in imported})
    numbers = {name: number for number, name in enumerate(groups or ())}

    def member(path: Parts, label: int) -> Member:
        if group_level is None:
            return Member("/".join(path), label)
        whole = original[path]
        return Member("/".join(whole), label, numbers[composed(whole[group_level - 1])])

    members: dict[Split, list[Member]] = {
        split: in_order(member(path, label) for label, key in enumerate(keys) for path in group.get(key, []))
        for split, group in grouped.items()
    }
    drawn = None if "test" in members else seed
    if drawn is not None:
        members |= draw_test(members["train"], drawn)
    classes, superclasses, fine_to_coarse = _name_classes(keys)
    other_files = count_others([path[-1] for path in found], [path[-1] for path in imported])
    return Layout(classes, superclasses, fine_to_coarse, members, drawn, other_files, groups)


def _images(found: list[Parts]) -> tuple[list[Parts], list[Parts]]:
    """The photos, and the files whose names do not tell whether they are images. Raises BadLayout: there are none."""
    certain = [path for path in found if is_photo(path[-1])]
    possible = [] if len(certain) == len(found) else [path for path in found if may_be_image(path[-1])]
    if certain:
        return certain, possible
    if possible:
        return possible, []
    others = [
        f"{count:,} files: {end or 'no ending'}" for end, count in count_others([p[-1] for p in found], []).items()
    ]
    raise BadLayout("There are no images.", detail=others)


def _without_level(certain: list[Parts], possible: list[Parts], level: int) -> dict[Parts, Parts]:
    """The paths without their folder of this level, from 1, and the whole paths. Raises BadLayout."""
    raise_if_any(
        f"Folders of level {level} are to be groups, and some images lie in fewer folders",
        ["/".join(path) for path in certain if len(path) <= level],
    )
    deep = [*certain, *(path for path in possible if len(path) > level)]
    # The whole path is the name of the file, as two groups may have files of the same name.
    return {(*path[: level - 1], *path[level:-1], "/".join(path)): path for path in deep}


def _empty_folders(folders: list[str], found: Iterable[Parts], images: Iterable[Parts]) -> list[Parts]:
    """The folders without any file, except in folders that hold files but no images."""
    if not folders:
        return []
    occupied = _parents(found)
    others = occupied - _parents(images)
    paths = [path for folder in folders if not is_junk(path := tuple(folder.rstrip("/").split("/")))]
    return [path for path in paths if path not in occupied and others.isdisjoint(_parents([path]))]


def _parents(paths: Iterable[Parts]) -> set[Parts]:
    return {folder[:end] for folder in {path[:-1] for path in paths} for end in range(1, len(folder) + 1)}


def wrapping_depth(paths: list[Parts]) -> int:
    """Number of enclosing folders: each is the only folder on its level, and contains folders."""
    depth = 0
    while True:
        inside = [path for path in paths if len(path) > depth + 1]
        alone = len({composed(path[depth]) for path in inside}) == 1
        if not alone or not any(len(path) > depth + 2 for path in inside):
            return depth
        depth += 1


def find_splits(paths: list[Parts], images: list[Parts], start: int) -> tuple[dict[Split, list[Parts]], int]:
    """Return the paths of each split that there is, and the index of the part with the class.

    A class may be called "train" (one of CIFAR-100's is), so folders are splits only if all that hold images have split
    names.
    """
    names = {path[start].lower() for path in images if len(path) > start + 1}
    named = {SPLIT_NAMES.get(name) for name in names}
    if None in named or "train" not in named or len(named) == 1:
        return {"train": paths}, start
    splits: dict[Split, list[Parts]] = {}
    for path in paths:
        if len(path) > start + 1 and path[start].lower() in names:
            splits.setdefault(SPLIT_NAMES[path[start].lower()], []).append(path)
    return splits, start + 1


def _class_depth(images: list[Parts], start: int) -> int:
    """1 for <class>/<image>, 2 for <superclass>/<class>/<image>."""
    images = [path for path in images if len(path) > start]
    depths = {len(path) - 1 - start for path in images}
    if depths <= {1} or depths <= {2}:
        return depths.pop()
    usual = max((1, 2), key=lambda depth: sum(len(path) - 1 - start == depth for path in images))
    odd = sorted("/".join(path) for path in images if len(path) - 1 - start != usual)
    raise_if_any("Images lie in folders of their class, at one depth; these do not", odd)
    raise AssertionError("depths differ, so some path is odd")


def _by_class(paths: list[Parts], start: int, depth: int) -> ByClass:
    """The images of each class folder, empty ones included. Files at another depth are not images."""
    group: ByClass = defaultdict(list)
    superclasses = set()
    for path in paths:
        inner = tuple(map(composed, path[start:-1])) + path[-1:]
        if len(inner) > depth:
            images = group[inner[:depth]]
            if len(inner) == depth + 1 and inner[-1]:
                images.append(path)
        elif len(inner) == 2 and not inner[-1]:
            superclasses.add(inner[:1])
    for empty in superclasses - {key[:1] for key in group}:
        group[empty] = []
    return dict(group)


def _add_possible(grouped: dict[Split, ByClass], possible: list[Parts]) -> None:
    """Add the files whose names do not tell whether they are images, where they lie beside images."""
    if not possible:
        return
    folders = {path[:-1]: images for group in grouped.values() for images in group.values() for path in images}
    for path in possible:
        if (images := folders.get(path[:-1])) is not None:
            images.append(path)


def _check_classes(grouped: dict[Split, ByClass]) -> None:
    keys = sorted({key for group in grouped.values() for key in group})
    problems = []
    for split, group in grouped.items():
        if split == "val":
            continue  # a class without validation images is trained on and tested all the same
        where = f" in {split}/" if len(grouped) > 1 else ""
        problems += [f"{'/'.join(key)}: no image{where}" for key in keys if not group.get(key)]
    if "test" not in grouped:
        one = [key for key, images in grouped["train"].items() if len(images) == 1]
        problems += [f"{'/'.join(key)}: one image; to split off a test set takes two" for key in sorted(one)]
    raise_if_any("Every class needs images to train on and to test with", problems)
    if len(keys) < 2:
        raise BadLayout("There is only one class; it takes two.", detail=["/".join(key) for key in keys])
    if len(keys) > MAX_CLASSES:
        raise BadLayout(f"There are {len(keys):,} classes; at most {MAX_CLASSES:,} are taken.", detail=[])


def _name_classes(keys: list[Parts]) -> tuple[list[str], list[str] | None, list[int] | None]:
    classes = [key[-1] for key in keys]
    twice = sorted({name for name, following in pairwise(classes) if name == following})
    raise_if_any("A class lies in one superclass only; these lie in several", twice)
    superclasses = sorted({key[0] for key in keys})
    if len(keys[0]) == 2 and len(superclasses) > 1:
        return classes, superclasses, [superclasses.index(key[0]) for key in keys]
    if known := known_superclasses(classes):
        return classes, *known
    return classes, None, None
