from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
import pytest
import torch

from app.errors import ApiError
from app.prediction.answers import Answer
from app.prediction.client import PredictorClient
from app.settings import Settings
from tests.app.predictor.predict_home import (
    CLASSES,
    SUPERCLASSES,
    add_checkpoint,
    decoder_host,
    encode,
    make_dataset,
    make_run,
    random_image,
    running_predictor,
    serving_child,
    settings_for,
)
from trainer.data.format import read_record
from trainer.models import checkpoint
from trainer.models.build import build_model
from trainer.models.inputs import constants_of, normalize
from trainer.rundir.checkpoints import best_checkpoint, remove_checkpoints
from trainer.rundir.folder import RunDir
from trainer.rundir.spec import read_spec
from trainer.spec.dataset_spec import PixelSpec
from trainer.spec.model_spec import ModelSpec

T = TypeVar("T")
RUN = "0123456789"
IMAGES = [random_image(seed) for seed in range(20)]
FILES = [encode(image) for image in IMAGES]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Deeper than a socket's path may be long.
    home = tmp_path_factory.mktemp("home") / ("a" * 60) / ("b" * 60)
    make_dataset(home)
    make_run(home, RUN)
    return home


@pytest.fixture(scope="module")
def settings(home: Path) -> Settings:
    return settings_for(home, max_queued_predictions=100)


@pytest.fixture(scope="module")
def predictor(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    with running_predictor(settings) as process:
        yield process


def ask_once(settings: Settings) -> Answer:
    async def main() -> Answer:
        client = PredictorClient(settings)
        try:
            return await client.predict(RUN, FILES[:1], 5)
        finally:
            await client.close()

    return asyncio.run(main())


@pytest.fixture
def ask(
    settings: Settings, predictor: subprocess.Popen[bytes]
) -> Callable[[Callable[[PredictorClient], Coroutine[Any, Any, T]]], T]:
    def run(work: Callable[[PredictorClient], Coroutine[Any, Any, T]]) -> T:
        async def main() -> T:
            client = PredictorClient(settings)
            try:
                return await work(client)
            finally:
                await client.close()

        return asyncio.run(main())

    return run


Ask = Callable[[Callable[[PredictorClient], Coroutine[Any, Any, Any]]], Any]


def expected(run_dir: Path, images: list[Any]) -> torch.Tensor:
    """The probabilities as the trainer's own parts give them."""
    spec = read_spec(run_dir)
    info = best_checkpoint(run_dir)
    assert info is not None
    record = read_record(run_dir.parent.parent / "datasets", "tiny")
    model = build_model(spec.model, len(SUPERCLASSES if spec.target == "coarse" else CLASSES), record.size)
    model.load_state_dict(checkpoint.load(run_dir, info).part("model"))
    with torch.inference_mode():
        pixels = PixelSpec(mean=record.mean, std=record.std)
        constants = constants_of(pixels, torch.device("cpu"))
        batch = normalize(torch.from_numpy(np.stack(images)), constants.mean, constants.std)
        probabilities: torch.Tensor = model.eval()(batch).softmax(1)
    return probabilities


def assert_right(answer: Answer, probabilities: torch.Tensor) -> None:
    for result, row in zip(answer.results, probabilities, strict=True):
        assert result.predictions is not None
        order = row.argsort(descending=True)[: len(result.predictions)]
        assert [p.index for p in result.predictions] == order.tolist()
        assert [p.probability for p in result.predictions] == pytest.approx(row[order].tolist(), abs=1e-4)


def test_probabilities_are_those_of_the_model(ask: Ask, home: Path) -> None:
    answer = ask(lambda client: client.predict(RUN, FILES, 5))
    assert_right(answer, expected(home / "runs" / RUN, IMAGES))
    assert (answer.model.run, answer.model.step, answer.model.dataset) == (RUN, 10, "tiny")
    top = answer.results[0].predictions[0]
    assert top.label == CLASSES[top.index]
    assert top.superclass == SUPERCLASSES[top.index % 3]


def test_many_clients_at_once_each_get_their_own(ask: Ask, home: Path) -> None:
    async def work(client: PredictorClient) -> list[Answer]:
        return await asyncio.gather(*(client.predict(RUN, [FILES[i % 20]], 12) for i in range(80)))

    rows = expected(home / "runs" / RUN, IMAGES)
    for number, answer in enumerate(ask(work)):
        assert_right(answer, rows[number % 20].unsqueeze(0))


def test_coarse_runs_name_superclasses(ask: Ask, home: Path) -> None:
    run_dir = make_run(home, "c0a45e0000", target="coarse", model="mlp")
    answer = ask(lambda client: client.predict("c0a45e0000", FILES[:3], 5))
    assert_right(answer, expected(run_dir, IMAGES[:3]))
    assert {p.label for p in answer.results[0].predictions} == set(SUPERCLASSES)
    assert answer.results[0].predictions[0].superclass is None


def test_a_new_checkpoint_is_taken_up(ask: Ask, home: Path) -> None:
    run_dir = make_run(home, "ad0a0ced00")
    before = ask(lambda client: client.predict("ad0a0ced00", FILES[:1], 5))
    add_checkpoint(run_dir, read_spec(run_dir), 20)
    after = ask(lambda client: client.predict("ad0a0ced00", FILES[:1], 5))
    assert (before.model.step, after.model.step) == (10, 20)
    assert_right(after, expected(run_dir, IMAGES[:1]))


def test_a_damaged_checkpoint_gives_way_to_the_one_before(ask: Ask, home: Path) -> None:
    run_dir = make_run(home, "da0a6ed000", steps=(10, 20))
    path = RunDir(run_dir).weights(20)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    answer = ask(lambda client: client.predict("da0a6ed000", FILES[:1], 5))
    assert answer.model.step == 10


def test_checkpoints_removed_while_they_predict(ask: Ask, home: Path) -> None:
    run_dir = make_run(home, "0e0ed00000")
    assert ask(lambda client: client.predict("0e0ed00000", FILES[:1], 5)).model.step == 10
    remove_checkpoints(run_dir, [10])
    with pytest.raises(ApiError) as refused:
        ask(lambda client: client.predict("0e0ed00000", FILES[:1], 5))
    assert (refused.value.status, refused.value.code) == (409, "no_checkpoint")


def test_weights_that_are_not_finite_are_said_so(ask: Ask, home: Path) -> None:
    run_dir = make_run(home, "a0a0a0a0a0", steps=())
    model = build_model(read_spec(run_dir).model, len(CLASSES), 32)
    tensors = {f"model.{k}": v * torch.nan if v.is_floating_point() else v for k, v in model.state_dict().items()}
    checkpoint.save(run_dir, tensors, {}, step=1, epoch=0, metrics={}, best=False)
    with pytest.raises(ApiError) as refused:
        ask(lambda client: client.predict("a0a0a0a0a0", FILES[:1], 5))
    assert (refused.value.status, refused.value.code) == (409, "diverged")


def test_more_models_than_stay_warm(ask: Ask, home: Path) -> None:
    names = [f"3a7700000{i}" for i in range(6)]
    for name in names:
        make_run(home, name)

    async def work(client: PredictorClient) -> None:
        for name in names * 2:
            answer = await client.predict(name, FILES[:2], 3)
            assert_right(answer, expected(home / "runs" / name, IMAGES[:2]))

    ask(work)


def test_one_bad_image_among_good_ones(ask: Ask, home: Path) -> None:
    answer = ask(lambda client: client.predict(RUN, [FILES[0], b"text", FILES[1]], 5))
    assert answer.results[1].error is not None
    assert answer.results[1].error.code == "unreadable_image"
    answer.results.pop(1)
    assert_right(answer, expected(home / "runs" / RUN, IMAGES[:2]))


def test_a_full_queue_is_503_with_retry_after(ask: Ask, home: Path) -> None:
    async def work(client: PredictorClient) -> list[Answer | BaseException]:
        calls = (client.predict(RUN, FILES * 3, 5) for _ in range(10))
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = ask(work)
    refused = [outcome for outcome in outcomes if isinstance(outcome, ApiError)]
    assert {(r.status, r.code, "Retry-After" in (r.headers or {})) for r in refused} == {(503, "queue_full", True)}
    assert any(isinstance(outcome, Answer) for outcome in outcomes)
    assert ask(lambda client: client.predict(RUN, FILES[:1], 5)).model.step == 10


@pytest.mark.parametrize("victim", [serving_child, decoder_host])
def test_a_killed_process_is_replaced_and_the_next_request_is_served(
    ask: Ask, home: Path, predictor: subprocess.Popen[bytes], victim: Callable[[int], psutil.Process]
) -> None:
    rows = expected(home / "runs" / RUN, IMAGES)

    async def work(client: PredictorClient) -> None:
        for number in range(3):
            assert_right(await client.predict(RUN, FILES, 5), rows)
            dying = victim(predictor.pid)
            dying.kill()
            answers = asyncio.gather(*(client.predict(RUN, [FILES[number]], 5) for _ in range(10)))
            for answer in await asyncio.wait_for(answers, 10):
                assert_right(answer, rows[number : number + 1])
            dying.wait(10)

    ask(work)
    assert predictor.poll() is None


def test_a_network_is_described_without_being_trained(ask: Ask) -> None:
    model = build_model(ModelSpec(name="cnn"), 100, 32)
    described = ask(lambda client: client.describe(ModelSpec(name="cnn"), 100, 32))
    assert described.parameters == sum(parameter.numel() for parameter in model.parameters())
    with pytest.raises(ApiError) as refused:
        ask(lambda client: client.describe(ModelSpec(name="cnn"), 100, 4))
    assert (refused.value.status, refused.value.code) == (422, "invalid_model")


def test_an_absent_predictor_is_503(tmp_path: Path) -> None:
    with pytest.raises(ApiError) as refused:
        asyncio.run(PredictorClient(settings_for(tmp_path), connect_seconds=0).predict(RUN, FILES[:1], 5))
    assert (refused.value.status, refused.value.code) == (503, "predictor_unavailable")
    assert refused.value.headers == {"Retry-After": "2"}


def test_the_children_end_with_a_killed_parent(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    make_run(tmp_path, RUN)
    settings = settings_for(tmp_path)
    with running_predictor(settings, ends_by_itself=True) as process:
        assert ask_once(settings).model.step == 10
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) == 3  # the serving child, the decoders' host, a decoder
        process.kill()
        process.wait()
        assert psutil.wait_procs(family, 5)[1] == []


def test_the_predictor_parent_and_the_client_are_free_of_torch() -> None:
    modules = "app.predictor.parent, app.prediction.client, app.predictor.decoder"
    code = f"import sys, {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
