"""Folds of a dataset: of groups, so that images of one patient, site or video are never parted, and those of a
cross-validation. Free of torch.

Folds of groups are drawn once, at the import. The share that a run holds out is made of whole ones. Those of a
cross-validation are drawn as they are needed, from the dataset's hash.
"""

import warnings

import numpy as np
import numpy.typing as npt

from trainer.data.format import Labels

FOLDS = 20
ALWAYS_TRAINED = -1

Mask = npt.NDArray[np.bool_]


def draw_folds(labels: Labels, groups: Labels, seed: int) -> Labels:
    """The fold (int64 N, from 0) of each image, by its class and group: each group is in one fold, and each fold has
    about the same share of each class. ALWAYS_TRAINED for all images if there is one group only.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # takes a second to import

    count = min(FOLDS, len(np.unique(groups)), int(np.bincount(labels).max()))
    if count < 2:
        return np.full(len(labels), ALWAYS_TRAINED)
    splitter = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed)
    folds = np.full(len(labels), ALWAYS_TRAINED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class that has fewer images than there are folds
        for fold, (_, rows) in enumerate(splitter.split(labels, labels, groups)):
            folds[rows] = fold
    return folds


def cross_validation_folds(labels: Labels, groups: Labels | None, count: int, seed: int) -> Labels:
    """The fold (int64 N, from 0 to `count` − 1) of each image, the same whenever it is drawn.

    Each class is spread evenly over the folds. `groups` (N) are not parted: the largest one first, each joins the fold
    that has the fewest images like its own. No fold is empty if there are `count` groups, or images without groups.
    """
    rng = np.random.default_rng([seed, 0xF01D])
    if groups is None:
        order = rng.permutation(len(labels))
        folds = np.empty(len(labels), np.int64)
        folds[order[np.argsort(labels[order], kind="stable")]] = np.arange(len(labels)) % count
        return folds
    classes = int(labels.max()) + 1
    pairs, images = np.unique(groups * classes + labels, return_counts=True)
    of_group, of_class = np.divmod(pairs, classes)
    found, first = np.unique(of_group, return_index=True)
    totals, sizes = np.bincount(labels), np.add.reduceat(images, first)
    shares = np.zeros((count, classes + 1))  # of each class in each fold, and last that of all images
    fold_of = np.empty(len(found), np.int64)
    ends = np.append(first[1:], len(pairs))
    for group in np.lexsort((rng.permutation(len(found)), -sizes)):
        part = slice(first[group], ends[group])
        columns = np.append(of_class[part], classes)
        added = np.append(images[part] / totals[of_class[part]], sizes[group] / len(labels))
        fold_of[group] = fold = int((shares[:, columns] @ added).argmin())
        shares[fold, columns] += added
    return fold_of[np.searchsorted(found, groups)]


def held_out(folds: Labels, labels: Labels, groups: Labels, fraction: float) -> Mask:
    """Which images to hold out (N): whole groups, together about `fraction` of all images.

    A group whose class would have no image left to train on stays in training.
    """
    held = np.zeros(len(folds), bool)
    if fraction == 0:
        return held
    free = (folds != ALWAYS_TRAINED) & ~np.isin(groups, _only_homes(labels, groups))
    sizes = np.bincount(folds[free])
    unused = set(np.flatnonzero(sizes).tolist())
    missing = fraction * len(folds)
    while unused:
        fold = min(unused, key=lambda fold: (abs(missing - sizes[fold]), fold))
        if held.any() and abs(missing - sizes[fold]) >= abs(missing):
            break
        unused.remove(fold)
        missing -= sizes[fold]
        held |= free & (folds == fold)
    return _keep_classes(held, labels, groups)


def _only_homes(labels: Labels, groups: Labels) -> Labels:
    """The groups that hold all images of a class."""
    pairs = np.unique(np.stack([labels, groups]), axis=1)
    alone = np.bincount(pairs[0]) == 1
    return np.unique(pairs[1][alone[pairs[0]]])


def _keep_classes(held: Mask, labels: Labels, groups: Labels) -> Mask:
    """Take from `held` the smallest groups that hold the last images of a class."""
    while True:
        lost = np.setdiff1d(labels, labels[~held])
        if not len(lost):
            return held
        candidates = np.unique(groups[labels == lost[0]])
        sizes = [np.count_nonzero(groups == group) for group in candidates]
        held = held & (groups != candidates[int(np.argmin(sizes))])
