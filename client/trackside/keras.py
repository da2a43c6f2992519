"""A callback for Keras: `model.fit(..., callbacks=[TracksideCallback()])`. Values have the epoch as their step."""

from __future__ import annotations

from typing import Any

from keras.callbacks import Callback

import trackside


class TracksideCallback(Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        run = trackside.run or trackside.init()
        run.log(dict(logs or {}), step=epoch)
