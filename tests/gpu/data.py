"""The datasets of all steps: a small shapes100, and CIFAR-100 if it is given."""

from __future__ import annotations

from tests.conftest import TEST_PER_CLASS, TRAIN_PER_CLASS
from tests.gpu.mosaics import read_mosaics, write_mosaics
from tests.gpu.setup import CIFAR, SMALL, Setup
from tests.gpu.verdict import Tell, check, measurement, skipped
from trainer.data.format import read_record
from trainer.data.sources.shapes import make_shapes100


def data(setup: Setup, tell: Tell) -> None:
    record = make_shapes100(setup.datasets, SMALL, train_per_class=TRAIN_PER_CLASS, test_per_class=TEST_PER_CLASS)
    tell(measurement(SMALL, f"{record.train_count:,} images to train on"))
    folder = setup.data
    if folder is None and setup.dry_run:
        folder = setup.folder / "mosaics"
        write_mosaics(setup.datasets, SMALL, folder)
    if folder is not None:
        record = read_mosaics(folder, setup.datasets, CIFAR)
        tell(check(f"{CIFAR} from mosaics", True, f"{record.train_count:,} images, equal to those that were written"))
    elif setup.has_cifar:
        record = read_record(setup.datasets, CIFAR)
        tell(measurement(f"{CIFAR} of the home", f"{record.train_count:,} images to train on"))
    else:
        tell(skipped(CIFAR, "no CIFAR-100 is given: --data DIR"))
