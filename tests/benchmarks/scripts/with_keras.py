"""Keras with the client's callback."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np

import trackside
from trackside.keras import TracksideCallback


def main() -> None:
    trackside.init(project="keras")
    data = np.random.default_rng(0).random((64, 8), np.float32)
    model = keras.Sequential([keras.layers.Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        data, (data.sum(1) > 4).astype("int32"), epochs=3, validation_split=0.25, verbose=0,
        callbacks=[TracksideCallback()],
    )  # fmt: skip


if __name__ == "__main__":
    main()
