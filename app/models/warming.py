"""Named models are loaded before the first call: the predictor is asked about an image of nothing."""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress

from app.errors import ApiError
from app.models.registry import ModelRegistry
from app.prediction.client import PredictorClient
from app.prediction.members import JOINT

PATIENCE_SECONDS, PAUSE_SECONDS = 120.0, 0.5
# A PNG of one grey pixel.
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")


async def warm(client: PredictorClient, model: str) -> bool:
    """Whether the predictor has answered at all. `model` is a run's id, or an ensemble's ids, joined."""
    try:
        await client.predict(model, [PIXEL], 1)
    except ApiError as error:
        return error.status != 503
    return True


async def warm_all(models: ModelRegistry, client: PredictorClient) -> None:
    """Every named model, once a predictor is there; nothing where none comes."""
    named = [JOINT.join(run.id for run in runs) for _, runs in await asyncio.to_thread(models.members)]
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            for model in named:
                while not await warm(client, model):
                    await asyncio.sleep(PAUSE_SECONDS)
