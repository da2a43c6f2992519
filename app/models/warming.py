"""Load the models that have an alias before their first call, by predicting a blank image."""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress

from app.errors import ApiError
from app.models.registry import ModelRegistry
from app.prediction.client import PredictorClient
from app.prediction.members import JOINT

TIMEOUT_SECONDS, RETRY_SECONDS = 120.0, 0.5
# A PNG of one gray pixel.
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")


async def warm(client: PredictorClient, model: str) -> bool:
    """Have the predictor load `model`: a run's id, or an ensemble's ids, joined. False if no predictor is available."""
    try:
        await client.predict(model, [PIXEL], 1)
    except ApiError as error:
        return error.status != 503
    return True


async def warm_all(models: ModelRegistry, client: PredictorClient) -> None:
    """Load every model that has an alias. Gives up after TIMEOUT_SECONDS, for instance if no predictor starts."""
    named = [JOINT.join(run.id for run in runs) for _, runs in await asyncio.to_thread(models.members)]
    with suppress(TimeoutError):
        async with asyncio.timeout(TIMEOUT_SECONDS):
            for model in named:
                while not await warm(client, model):
                    await asyncio.sleep(RETRY_SECONDS)
