"""Files of a dataset with groups or weights, beside those of trainer/data/format.py.

<root>/<name>/{split}.groups.npy   int64, N: the group of each image, an index into groups.txt
              groups.txt           a line per group: its name
              train.folds.npy      int64, N: the fold of each training image (trainer/data/folds.py)
              train.weights.npy    float32, N: what each training image counts in the loss
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.data.errors import DatasetDamaged
from trainer.data.format import DatasetRecord, Labels, Split

GROUP_NAMES_FILE = "groups.txt"
FOLDS_FILE = "train.folds.npy"
WEIGHTS_FILE = "train.weights.npy"

Weights = npt.NDArray[np.float32]


def groups_file(split: Split) -> str:
    return f"{split}.groups.npy"


def read_groups(root: Path, record: DatasetRecord, split: Split) -> Labels:
    """The group of each image (int64 N), of a dataset with groups. Raises DatasetDamaged."""
    return _load(root / record.name / groups_file(split), np.dtype(np.int64), record.count(split))


def read_group_names(root: Path, record: DatasetRecord) -> list[str]:
    """Raises DatasetDamaged."""
    try:
        return (root / record.name / GROUP_NAMES_FILE).read_text("utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetDamaged(f"{record.name}/{GROUP_NAMES_FILE} cannot be read: {error}.") from None


def read_folds(root: Path, record: DatasetRecord) -> Labels:
    """The fold of each training image (int64 N), of a dataset with groups. Raises DatasetDamaged."""
    return _load(root / record.name / FOLDS_FILE, np.dtype(np.int64), record.train_count)


def read_weights(root: Path, record: DatasetRecord) -> Weights | None:
    """What each training image counts in the loss (float32 N), None in a dataset without weights.

    Raises DatasetDamaged.
    """
    if WEIGHTS_FILE not in record.sha256:
        return None
    return _load(root / record.name / WEIGHTS_FILE, np.dtype(np.float32), record.train_count)


def shared_groups(groups: dict[Split, Labels]) -> int:
    """How many groups have both training images and images of another split."""
    others = [found for split, found in groups.items() if split != "train"]
    return len(np.intersect1d(groups["train"], np.concatenate(others))) if others else 0


def _load(path: Path, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetDamaged(f"{path.parent.name}/{path.name} cannot be read: {error}.") from None
    if array.dtype != dtype or array.shape != (count,):
        raise DatasetDamaged(f"{path.parent.name}/{path.name} is {array.dtype} {array.shape}, not ({count},).")
    return array
