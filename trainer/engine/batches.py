"""The batches of a run in order, augmented and on the device, for resident and for streamed images."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.engine.augment import EpochDraws, draw_epoch, place
from trainer.engine.class_balance import BalancedSampler
from trainer.engine.context import Context
from trainer.engine.ranks import ALONE, Ranks
from trainer.engine.read_ahead import ReadAhead

PREFETCHED = 2  # batches that a thread reads while the device computes
ASKED_FOR = 8  # batches that the disk is asked for, at least
ASKED_BYTES = 32 << 20  # and more of them if they are small


@dataclass(frozen=True)
class Epoch:
    """An epoch's random values, and in their order the samples: `rows` int64 (n,) on the device of the stored images,
    `labels` int64 (n,) on the run's device. `weights`, float32 (n,), are by position; None if all images count the
    same.

    A position is that of an image in the training split, or with balanced sampling a place for which one is drawn, so
    that an image that is drawn twice is augmented twice.
    """

    number: int
    draws: EpochDraws
    rows: Tensor
    labels: Tensor
    weights: Tensor | None


class Batches:
    """The whole batches of a run, or with `ranks` the part of each batch that this rank trains on.

    Where images are mixed with the previous one of the batch, a part begins with the image before it: `is_led`.
    """

    def __init__(self, context: Context, batch_size: int, ranks: Ranks = ALONE) -> None:
        self._spec, self._data, self._device = context.spec, context.data, context.device
        self._batch_size, self._full_size = batch_size, context.full_size
        self._epoch: Epoch | None = None
        self._fill = (255 * torch.tensor(self._data.record.mean)).round().to(torch.uint8).to(self._device)
        self._reader = ThreadPoolExecutor(1, "reader") if self._data.streamed else None
        self._reading: dict[int, Future[Tensor]] = {}
        path = self._data.train.path
        self._ahead = None if self._reader is None or path is None else ReadAhead(path)
        self._asked = 0  # batches of the epoch
        first = self._data.train.images[:1]
        self._far = max(ASKED_FOR, ASKED_BYTES // max(1, batch_size * first.nbytes))
        self._rows = self._data.train_rows.to(self._data.train.images.device)
        self._labels = self._data.train.labels[self._data.train_rows]
        weights = self._data.train_weights
        self._weights = None if weights is None else weights[self._data.train_rows]
        balanced = self._spec.sampling == "balanced"
        self._sampler = BalancedSampler(self._labels.cpu().numpy(), self._spec.seed) if balanced else None
        self._all = torch.arange(batch_size, device=self._device)
        self._share = ranks.share_of(batch_size)
        self.is_led = ranks.are_several and bool(self._spec.augment.mixup or self._spec.augment.cutmix)

    def take(self, epoch: int, position: int) -> tuple[Tensor, Tensor, EpochDraws, Tensor]:
        """Return images uint8 B×H×W×3 (or float features B×F), labels (B,), the epoch's draws, and positions (B,)."""
        drawn = self._drawn(epoch)
        draws, labels = drawn.draws, self._part(drawn.labels, position)
        chosen = self._part(draws.order, position)
        images, rows = self._data.train.images, self._part(drawn.rows, position)
        if self._reader is not None:
            images = self._read(drawn, position).to(self._device, non_blocking=True)
            rows = self._all[: len(chosen)]
        if images.dtype == torch.uint8:
            on_cpu = self._part(draws.on_cpu.order, position)
            placed = place(
                self._spec.augment, images, rows, draws, chosen, fill=self._fill, size=self._full_size, drawn=on_cpu
            )
        else:
            placed = images.index_select(0, rows)
        return placed, labels, draws, chosen

    def weights(self, chosen: Tensor) -> Tensor | None:
        """What the images at these positions, of the epoch taken last, count in the loss, float32 (B,); None if all
        count the same."""
        return None if self._epoch is None or self._epoch.weights is None else self._epoch.weights[chosen]

    def _drawn(self, number: int) -> Epoch:
        if self._epoch is None or self._epoch.number != number:
            data = self._data
            spec, size = self._spec, data.record.size
            draws = draw_epoch(
                spec.augment, len(data.train_rows), spec.seed, number, self._device, size, self._full_size
            )
            order = draws.on_cpu.order if data.streamed else draws.order
            rows, labels, weights = self._rows, self._labels, self._weights
            if self._sampler is not None:
                drawn = torch.from_numpy(self._sampler.draw(number))
                rows, drawn = rows[drawn.to(rows.device)], drawn.to(self._device)
                labels, weights = labels[drawn], None if weights is None else weights[drawn]
            self._epoch = Epoch(number, draws, rows[order], labels[draws.order], weights)
            self._reading.clear()
            self._asked = 0
        return self._epoch

    def _part(self, values: Tensor, position: int) -> Tensor:
        """Return those of an epoch's `values` that belong to the part of a batch."""
        start = position * self._batch_size
        part = values[start + self._share.start : start + self._share.stop]
        if not self.is_led:
            return part
        before = start + (self._share.start - 1) % self._batch_size
        return torch.cat([values[before : before + 1], part])

    def _read(self, drawn: Epoch, position: int) -> Tensor:
        """Return the stored images of a batch, and start to read those of the next PREFETCHED batches."""
        assert self._reader is not None
        if self._ahead is not None:
            begin, self._asked = max(position, self._asked), position + self._far
            for number in range(begin, self._asked):
                self._reader.submit(self._ahead.ask, self._part(drawn.rows, number))
        for number in range(position, position + PREFETCHED + 1):
            rows = self._part(drawn.rows, number)
            if number not in self._reading and len(rows):
                self._reading[number] = self._reader.submit(self._fetch, rows)
        return self._reading.pop(position).result()

    def _fetch(self, rows: Tensor) -> Tensor:
        images = self._data.train.images[rows]
        return images.pin_memory() if self._device.type == "cuda" else images
