"""Loss and accuracy of a model on a split, in eval mode."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.data.resident import ResidentData, Split, normalise
from trainer.spec import TrainSpec

BATCH = 250  # on a CPU larger batches fall out of the cache and take twice as long an image
CLEAN_IMAGES = 2000


def batch_loss(spec: TrainSpec, logits: Tensor, labels: Tensor, *, plain: bool = False) -> Tensor:
    """Mean loss of a batch; `plain` leaves label smoothing out, so that values compare."""
    if spec.loss == "mse":
        return F.mse_loss(logits, F.one_hot(labels, logits.shape[1]).to(logits.dtype))
    return F.cross_entropy(logits, labels, label_smoothing=0.0 if plain else spec.label_smoothing)


@torch.inference_mode()
def evaluate(
    spec: TrainSpec,
    model: nn.Module,
    data: ResidentData,
    split: Split,
    rows: Tensor | None,
    constants: tuple[Tensor, Tensor],
    precision: torch.dtype,
) -> dict[str, float]:
    """Mean loss, acc, acc5 (over ten classes) and coarse_acc (with superclasses) on `rows` of `split`, all if None."""
    model.eval()
    device = split.images.device
    count = len(split) if rows is None else len(rows)
    sums = torch.zeros(4, dtype=torch.float64, device=device)
    for start in range(0, count, BATCH):
        stop = min(start + BATCH, count)
        images = split.images[start:stop] if rows is None else split.images[rows[start:stop]]
        labels = split.labels[start:stop] if rows is None else split.labels[rows[start:stop]]
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            logits = model(normalise(images, *constants))
        logits = logits.float()
        guess = logits.argmax(1)
        sums[0] += batch_loss(spec, logits, labels, plain=True) * len(labels)
        sums[1] += (guess == labels).sum()
        if data.num_classes > 10:
            sums[2] += (logits.topk(5).indices == labels[:, None]).sum()
        if data.coarse_of is not None:
            sums[3] += (data.coarse_of[guess] == data.coarse_of[labels]).sum()
    loss, acc, acc5, coarse = (sums / max(1, count)).tolist()  # waits for the device
    result = {"loss": loss, "acc": acc}
    if data.num_classes > 10:
        result["acc5"] = acc5
    if data.coarse_of is not None:
        result["coarse_acc"] = coarse
    return result


def clean_rows(data: ResidentData) -> Tensor:
    """The fixed training images on which overfitting is judged."""
    return data.train_rows[:: max(1, len(data.train_rows) // CLEAN_IMAGES)][:CLEAN_IMAGES]


def needs_clean(spec: TrainSpec) -> bool:
    """Whether the training loss is not comparable with the validation loss."""
    return bool(spec.label_smoothing or spec.augment.crop or spec.augment.flip or spec.model.dropout)
