"""Named models are loaded before the first call: the predictor is asked about an image of nothing."""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress

from app.errors import ApiError
from app.model_registry import ModelRegistry
from app.predict import PredictorClient

PATIENCE_SECONDS, PAUSE_SECONDS = 120.0, 0.5
# A PNG of one grey pixel.
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")


async def warm(client: PredictorClient, run_id: str) -> bool:
    """Whether the predictor has answered at all."""
    try:
        await client.predict(run_id, [PIXEL], 1)
    except ApiError as error:
        return error.status != 503
    return True


async def warm_all(models: ModelRegistry, client: PredictorClient) -> None:
    """Every named model, once a predictor is there; nothing where none comes."""
    runs = [run.id for _, run in await asyncio.to_thread(models.named)]
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            for run in runs:
                while not await warm(client, run):
                    await asyncio.sleep(PAUSE_SECONDS)
