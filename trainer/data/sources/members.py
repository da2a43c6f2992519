"""What is planned to be imported: classes, images and their splits."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from trainer.data.errors import BadLayout
from trainer.data.folds import draw_folds, held_out
from trainer.data.format import Split

TEST_FRACTION = 0.2
MAX_CLASSES = 20_000


@dataclass(frozen=True)
class Member:
    """One image: its path in the folder or zip, its class, and its index in `Layout.groups`."""

    path: str
    label: int
    group: int | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Layout:
    """Classes and images of a dataset. Members are in the order of the arrays: by class, then by path.

    `members` has "val" only where there is a validation split. `seed` is that of the test split's draw, None where
    there is a test split. `groups` are the names of what is never parted, None without groups. `manifest` is the name
    of the file that names the classes, "" if folders do; `columns` are those of its columns that may be groups.
    `other_files` counts by ending the files that are not imported.
    """

    classes: list[str]
    superclasses: list[str] | None
    fine_to_coarse: list[int] | None
    members: dict[Split, list[Member]]
    seed: int | None = None
    other_files: dict[str, int] = field(default_factory=dict)
    groups: list[str] | None = None
    manifest: str = ""
    columns: list[str] = field(default_factory=list)
    weighted: bool = False

    @property
    def test_drawn(self) -> bool:
        """Whether the test images were drawn from the training images."""
        return self.seed is not None

    @property
    def total(self) -> int:
        return sum(len(members) for members in self.members.values())


def in_order(members: Iterable[Member]) -> list[Member]:
    return sorted(members, key=lambda member: (member.label, member.path.split("/")))


def draw_test(members: list[Member], seed: int) -> dict[Split, list[Member]]:
    """Draw a fifth of each class, at least one image; or whole groups, together about a fifth of the images.

    `members` are in order, and so are those of each split. Raises BadLayout: no group can be spared.
    """
    chosen = _chosen_groups(members, seed) if members[0].group is not None else _chosen_images(members, seed)
    splits: dict[Split, list[Member]] = {"train": [], "test": []}
    for index, member in enumerate(members):
        splits["test" if index in chosen else "train"].append(member)
    return splits


def _chosen_images(members: list[Member], seed: int) -> set[int]:
    by_label = defaultdict(list)
    for index, member in enumerate(members):
        by_label[member.label].append(index)
    chosen: set[int] = set()
    for label, rows in by_label.items():
        order = np.random.default_rng([seed, label]).permutation(len(rows))
        chosen.update(rows[place] for place in order[: max(1, round(len(rows) * TEST_FRACTION))].tolist())
    return chosen


def _chosen_groups(members: list[Member], seed: int) -> set[int]:
    labels = np.array([member.label for member in members], np.int64)
    groups = np.array([member.group for member in members], np.int64)
    held = held_out(draw_folds(labels, groups, seed), labels, groups, TEST_FRACTION)
    if not held.any():
        raise BadLayout(
            "No group can be held out for the test: without any one of them, a class would have no image to train on. "
            "Give a test split, or import without groups.",
            detail=[],
        )
    return set(np.flatnonzero(held).tolist())
