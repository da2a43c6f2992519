"""What makes up for uneven classes: weights by the effective number of images, and balanced sampling. Free of torch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainer.data.format import Labels

SAMPLING = 2  # the random stream of the sampler; mixup and cutmix have 0 and 1 (trainer/engine/augment.py)


def effective_weights(counts: npt.NDArray[np.int64], beta: float) -> npt.NDArray[np.float64]:
    """The weights (C,) of classes with `counts` (C,) training images, 1 on average over these images.

    Each is the inverse of the class's effective number of images, (1 − beta^n) / (1 − beta) (Cui et al. 2019,
    "Class-Balanced Loss Based on Effective Number of Samples"). A class without images has the weight of one image.
    """
    weights = (1 - beta) / -np.expm1(np.maximum(counts, 1) * np.log(beta))
    return np.asarray(weights * max(1, counts.sum()) / max(1e-12, (weights * counts).sum()))


class BalancedSampler:
    """Draws images with replacement so that each class that has any is equally likely."""

    def __init__(self, labels: Labels, seed: int) -> None:
        """`labels` int64 (n,): the classes of the images that are trained on."""
        self._seed = seed
        self._by_class = np.argsort(labels, kind="stable")
        _, self._first, self._counts = np.unique(labels[self._by_class], return_index=True, return_counts=True)

    def draw(self, epoch: int) -> Labels:
        """The positions (n,) of the images of an epoch, the same whenever it is drawn."""
        generator = np.random.default_rng((self._seed, epoch, SAMPLING))
        classes = generator.integers(len(self._counts), size=len(self._by_class))
        return np.asarray(self._by_class[self._first[classes] + generator.integers(self._counts[classes])])
