"""A model on a dataset of its classes, of some of them, in another order, of superclasses, and of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, roc_auc_score

from tests.trainer.data.own_validation import make_uneven
from tests.trainer.test_validation import new_run, run
from trainer.data.errors import DatasetError
from trainer.data.format import DatasetRecord, Images, open_split, read_record
from trainer.data.writer import write_dataset
from trainer.exported.class_names import ClassesDiffer, model_labels
from trainer.inference.classifier import Classifier, load_best
from trainer.inference.evaluation import Origin, evaluate_on
from trainer.rundir.spec import read_spec


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("datasets")
    make_uneven(root, (60, 60, 60))
    return root


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory, datasets: Path) -> Classifier:
    folder = tmp_path_factory.mktemp("run") / "run"
    record = read_record(datasets, "uneven")
    new_run(folder, datasets, record, val_fraction=0.4, **{"optimizer.lr": 0.01})
    run(folder, datasets)
    return load_best(folder, read_spec(folder), record, torch.device("cpu"))


def dataset_of(
    root: Path, name: str, classes: list[str], images: Images, labels: list[int], **more: object
) -> DatasetRecord:
    files = [f"{row}.png" for row in range(len(labels))]
    arrays = dict.fromkeys(("train", "test"), (images, labels, files))
    return write_dataset(root, name, arrays=arrays, classes=classes, source="t", **more)  # type: ignore[arg-type]


def measured(classifier: Classifier, root: Path, name: str, **origin: float) -> dict[str, float]:
    found, answers = evaluate_on(
        classifier,
        root,
        name,
        "test",
        model="m",
        run="r",
        origin=Origin("uneven", **origin),  # type: ignore[arg-type]
    )
    assert found.calibrated == (classifier.temperature is not None)
    assert len(answers.row) == found.images
    return found.figures


def test_figures_equal_scikit_learns(classifier: Classifier, datasets: Path) -> None:
    images, labels = open_split(datasets, "uneven", "train")
    found, answers = evaluate_on(classifier, datasets, "uneven", "train", model="m", run="r", origin=Origin("uneven"))
    probabilities = classifier.calibrated(classifier.probabilities(images)).double().numpy()
    probabilities /= probabilities.sum(1, keepdims=True)
    guess = probabilities.argmax(1)
    assert answers.guess.tolist() == guess.tolist()
    expected = {
        "acc": (guess == labels).mean(),
        "balanced_acc": balanced_accuracy_score(labels, guess),
        "macro_f1": f1_score(labels, guess, average="macro"),
        "log_loss": log_loss(labels, probabilities),
        "auc": roc_auc_score(labels, probabilities, multi_class="ovr"),
    }
    assert {name: found.figures[name] for name in expected} == pytest.approx(expected, abs=1e-5)
    assert found.own_test is None


def test_classes_are_matched_by_their_names(classifier: Classifier, datasets: Path, tmp_path: Path) -> None:
    images, labels = open_split(datasets, "uneven", "train")
    chosen = np.flatnonzero(labels != 1)
    renumbered = [1 if labels[row] == 0 else 0 for row in chosen]  # "c" is class 0 here, "a" class 1
    dataset_of(tmp_path, "some", ["c", "a"], images[chosen], renumbered)
    whole = measured(classifier, datasets, "uneven")
    some = measured(classifier, tmp_path, "some", accuracy=0.9, images=300)
    guess = classifier.probabilities(images[chosen]).argmax(1).numpy()
    assert some["acc"] == pytest.approx((guess == labels[chosen]).mean())
    assert whole.keys() == some.keys()


def test_a_dataset_of_superclasses_and_one_of_other_classes(tmp_path: Path) -> None:
    images = np.zeros((3, 32, 32, 3), np.uint8)
    pets = dataset_of(
        tmp_path,
        "pets",
        ["cat", "dog", "car"],
        images,
        [0, 1, 2],
        superclasses=["animal", "thing"],
        fine_to_coarse=[0, 0, 1],
    )
    fine = np.array([0, 1, 2])
    assert model_labels(["dog", "cat", "car"], pets, fine).tolist() == [1, 0, 2]
    assert model_labels(["thing", "animal"], pets, fine).tolist() == [1, 1, 0]
    with pytest.raises(ClassesDiffer, match="pets has classes that the model does not predict: dog, car") as caught:
        model_labels(["cat", "bird"], pets, fine)
    assert caught.value.detail == {"unknown": ["dog", "car"]}


def test_worse_than_on_its_own_test_split(classifier: Classifier, datasets: Path, tmp_path: Path) -> None:
    images, labels = open_split(datasets, "uneven", "train")
    wrong = [(int(label) + 1) % 3 for label in labels]
    dataset_of(tmp_path, "wrong", ["a", "b", "c"], np.array(images), wrong)
    for name, root in (("uneven", datasets), ("wrong", tmp_path)):
        accuracy = 0.99
        found, _ = evaluate_on(
            classifier, root, name, "train", model="m", run="r", origin=Origin("uneven", accuracy, 1000)
        )
        assert found.own_test is not None
        assert (found.own_test.z > 0) == (found.figures["acc"] < accuracy)
        assert (found.own_test.dataset, found.own_test.images) == ("uneven", 1000)
    with pytest.raises(DatasetError, match="uneven has no val split"):
        evaluate_on(classifier, datasets, "uneven", "val", model="m", run="r", origin=Origin("uneven"))
