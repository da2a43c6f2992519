"""The labels of a dataset as numbers of a model's classes. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.data.errors import DatasetError
from trainer.data.format import DatasetRecord, Labels

NAMED = 5  # classes in an error


class ClassesDiffer(DatasetError):
    """The dataset has classes that the model does not predict."""

    code = "classes_differ"


def model_labels(names: Sequence[str], record: DatasetRecord, fine: Labels) -> Labels:
    """The labels (N,) as numbers of the model's classes, by their names; of superclasses if the model predicts those.

    Raises ClassesDiffer.
    """
    number = {name: index for index, name in enumerate(names)}
    for target in ("fine", "coarse"):
        own = record.target_names(target)
        if all(name in number for name in own):
            return np.array([number[name] for name in own], np.int64)[record.target_labels(target, fine)]
    unknown = [name for name in record.classes if name not in number]
    more = f" and {len(unknown) - NAMED:,} more" if len(unknown) > NAMED else ""
    raise ClassesDiffer(
        f"{record.name} has classes that the model does not predict: {', '.join(unknown[:NAMED])}{more}.",
        detail={"unknown": unknown[:100]},
    )
