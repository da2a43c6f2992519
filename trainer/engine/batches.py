"""The batches of a run in order, augmented and on the device, for resident and for streamed images."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from trainer.engine.augment import EpochDraws, draw_epoch, place
from trainer.engine.context import Context

PREFETCHED = 2  # batches that a thread reads while the device computes


class Batches:
    def __init__(self, context: Context, batch_size: int) -> None:
        self._spec, self._data, self._device = context.spec, context.data, context.device
        self._batch_size = batch_size
        self._epoch = -1
        self._draws: EpochDraws | None = None
        self._fill = (255 * torch.tensor(self._data.record.mean)).round().to(torch.uint8).to(self._device)
        self._reader = ThreadPoolExecutor(1, "reader") if self._data.streamed else None
        self._rows = self._data.train_rows.cpu() if self._data.streamed else self._data.train_rows
        self._reading: dict[int, Future[Tensor]] = {}

    def take(self, epoch: int, position: int) -> tuple[Tensor, Tensor, EpochDraws, Tensor]:
        """Return images uint8 B×H×W×3 (or float features B×F), labels (B,), the epoch's draws, and positions (B,)."""
        draws = self._draws_of(epoch)
        chosen, drawn = self._chosen(draws, position), self._chosen(draws.on_cpu, position)
        rows = self._data.train_rows[chosen]
        labels = self._data.train.labels[rows]
        images = self._data.train.images
        if self._reader is not None:
            images = self._read(draws, position).to(self._device, non_blocking=True)
            rows = torch.arange(len(rows), device=self._device)
        if images.dtype != torch.uint8:
            return images[rows], labels, draws, chosen
        return (
            place(self._spec.augment, images, rows, draws, chosen, fill=self._fill, drawn=drawn),
            labels,
            draws,
            chosen,
        )

    def _draws_of(self, epoch: int) -> EpochDraws:
        if self._draws is None or epoch != self._epoch:
            count, size = len(self._data.train_rows), self._data.record.size
            self._draws = draw_epoch(self._spec.augment, count, self._spec.seed, epoch, self._device, size)
            self._epoch = epoch
            self._reading.clear()
        return self._draws

    def _chosen(self, draws: EpochDraws, position: int) -> Tensor:
        return draws.order[position * self._batch_size : (position + 1) * self._batch_size]

    def _read(self, draws: EpochDraws, position: int) -> Tensor:
        """Return the stored images of a batch, and start to read those of the next PREFETCHED batches."""
        assert self._reader is not None
        for number in range(position, position + PREFETCHED + 1):
            chosen = self._chosen(draws.on_cpu, number)
            if number not in self._reading and len(chosen):
                self._reading[number] = self._reader.submit(self._fetch, self._rows[chosen])
        return self._reading.pop(position).result()

    def _fetch(self, rows: Tensor) -> Tensor:
        images = self._data.train.images[rows]
        return images.pin_memory() if self._device.type == "cuda" else images
