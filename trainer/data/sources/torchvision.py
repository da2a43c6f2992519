"""Datasets that torchvision offers, downloaded from the same addresses and checked against checksums.

torchvision's own classes report no progress to the caller, and they unpickle CIFAR. This module reads CIFAR's binary
version, which holds the same images without a pickle.
"""

import gzip
import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainer.data import cifar100
from trainer.data.errors import DatasetDamaged, UnknownSource
from trainer.data.fit import fit_image
from trainer.data.format import USUAL_SIZES, DatasetRecord, Fit, Images, Labels, Split, rows_within
from trainer.data.sources.download import Remote, fetch
from trainer.data.writer import DatasetWriter
from trainer.system.progress import Progress, silent

# Images (N×H×W×3, or N×H×W if grayscale), labels, and the file and record number of each.
Part = tuple[Images, Labels, list[str]]
Parts = dict[Split, Part]

_CIFAR_BASE = "https://www.cs.toronto.edu/~kriz"
_FASHION_BASE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_SVHN_BASE = "http://ufldl.stanford.edu/housenumbers"
_PROGRESS_BYTES = 64 << 20


@dataclass(frozen=True)
class Downloadable:
    name: str
    files: tuple[Remote, ...]
    read: Callable[[list[Path]], Parts]
    classes: Sequence[str]
    superclasses: Sequence[str] | None = None
    fine_to_coarse: Sequence[int] | None = None


def add_downloadable(
    root: Path,
    name: str,
    source: Downloadable,
    *,
    size: int | None = None,
    fit: Fit = "crop",
    base: str | None = None,
    progress: Progress = silent,
) -> DatasetRecord:
    """Download `source` and create the dataset `name`. Downloads are kept in root/.downloads.

    `base` is the address of a mirror. Raises DownloadFailed; DatasetDamaged: a file cannot be read.
    """
    paths = [fetch(remote, root / ".downloads", progress, base=base) for remote in source.files]
    try:
        parts = source.read(paths)
    except (OSError, EOFError, ValueError, KeyError, tarfile.TarError, zlib.error) as error:
        raise DatasetDamaged(f"{source.name} was downloaded, but cannot be read: {error}.") from None
    size = size or _offered_size(parts["train"][0].shape[1])
    total = sum(len(labels) for _, labels, _ in parts.values())
    done = 0
    with DatasetWriter(root, name, size=size) as writer:
        for split, (images, labels, files) in parts.items():
            rows = writer.create_images(split, len(images))
            count = rows_within(_PROGRESS_BYTES, size)
            for start in range(0, len(images), count):
                part = slice(start, start + count)
                rows[part] = _fitted(images[part], size, fit)
                done += len(rows[part])
                progress(done, total, "fitting")
            writer.set_labels(split, labels, files)
        return writer.commit(
            classes=source.classes,
            superclasses=source.superclasses,
            fine_to_coarse=source.fine_to_coarse,
            fit=fit,
            source=f"torchvision:{source.name}",
            progress=progress,
        )


def downloadable(name: str) -> Downloadable:
    """Return the dataset of that name in any case. Raises UnknownSource."""
    for source in DOWNLOADABLE:
        if source.name.lower() == name.lower():
            return source
    known = ", ".join(source.name for source in DOWNLOADABLE)
    raise UnknownSource(f"torchvision's {name[:60]!r} is not offered; these are: {known}.")


def _offered_size(own: int) -> int:
    return min((size for size in USUAL_SIZES if size >= own), default=USUAL_SIZES[-1])


def _fitted(images: Images, size: int, fit: Fit) -> Images:
    if images.shape[1:] == (size, size, 3):
        return images
    return np.stack([fit_image(Image.fromarray(image), size, fit) for image in images])


def _read_cifar100(paths: list[Path]) -> Parts:
    return _read_cifar(paths[0], {"train": ["cifar-100-binary/train.bin"], "test": ["cifar-100-binary/test.bin"]}, 2)


def _read_cifar10(paths: list[Path]) -> Parts:
    batches = [f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)]
    return _read_cifar(paths[0], {"train": batches, "test": ["cifar-10-batches-bin/test_batch.bin"]}, 1)


def _read_cifar(path: Path, members: dict[Split, list[str]], label_bytes: int) -> Parts:
    """Read CIFAR's binary records: label bytes, of which the last is the fine label, then 3×32×32 pixels."""
    parts: Parts = {}
    with tarfile.open(path, "r:gz") as archive:
        for split, names in members.items():
            records, files = [], []
            for name in names:
                file = archive.extractfile(name)
                if file is None:
                    raise ValueError(f"{name} is no file")
                batch = np.frombuffer(file.read(), np.uint8).reshape(-1, label_bytes + 3072)
                records.append(batch)
                files += [f"{name}/{index:05d}" for index in range(len(batch))]
            whole = np.concatenate(records)
            images = whole[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            parts[split] = (images, whole[:, label_bytes - 1].astype(np.int64), files)
    return parts


def _read_idx(paths: list[Path]) -> Parts:
    """Read IDX files (http://yann.lecun.com/exdb/mnist): a header of big-endian sizes, then the bytes."""
    train_images, train_labels, test_images, test_labels = (gzip.decompress(path.read_bytes()) for path in paths)
    files: dict[Split, tuple[bytes, bytes, Path]] = {
        "train": (train_images, train_labels, paths[0]),
        "test": (test_images, test_labels, paths[2]),
    }
    parts: Parts = {}
    for split, (images, labels, path) in files.items():
        count, height, width = np.frombuffer(images, ">u4", 3, offset=4).tolist()
        pixels = np.frombuffer(images, np.uint8, offset=16).reshape(count, height, width)
        kinds = np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)
        parts[split] = (pixels, kinds, [f"{path.stem}/{index:05d}" for index in range(count)])
    return parts


def _read_svhn(paths: list[Path]) -> Parts:
    """Read SVHN's arrays: X is 32×32×3×N; y is 1 to 10, where 10 is the digit 0."""
    parts: Parts = {}
    splits: tuple[Split, ...] = ("train", "test")
    for split, path in zip(splits, paths, strict=True):
        arrays = _matlab_arrays(path)
        images = np.ascontiguousarray(arrays["X"].transpose(3, 0, 1, 2))
        labels = arrays["y"].ravel().astype(np.int64) % 10
        parts[split] = (images, labels, [f"{path.name}/{index:05d}" for index in range(len(labels))])
    return parts


def _matlab_arrays(path: Path) -> dict[str, Any]:
    """The arrays `X` and `y` of a MATLAB 5 file, by name. Raises ValueError, OSError, zlib.error.

    A crafted file can crash scipy's reader: only files whose checksum was compared may come here.
    """
    from scipy.io import loadmat  # takes half a second, and only SVHN needs it
    from scipy.io.matlab import MatReadError

    try:
        arrays: dict[str, Any] = loadmat(path, variable_names=("X", "y"))
    except (MatReadError, IndexError, TypeError, NotImplementedError) as error:
        raise ValueError(f"{path.name} is damaged: {error}") from None
    return arrays


# The checksums of FashionMNIST and SVHN are those in torchvision.datasets, CIFAR's are those its page gives:
# https://www.cs.toronto.edu/~kriz/cifar.html
CIFAR100 = Downloadable(
    "CIFAR100",
    (Remote(_CIFAR_BASE, "cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),),
    _read_cifar100,
    cifar100.FINE_NAMES,
    cifar100.COARSE_NAMES,
    cifar100.FINE_TO_COARSE,
)
CIFAR10 = Downloadable(
    "CIFAR10",
    (Remote(_CIFAR_BASE, "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),),
    _read_cifar10,
    ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)
FASHION_MNIST = Downloadable(
    "FashionMNIST",
    (
        Remote(_FASHION_BASE, "train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        Remote(_FASHION_BASE, "train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        Remote(_FASHION_BASE, "t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        Remote(_FASHION_BASE, "t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
    _read_idx,
    (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)
SVHN = Downloadable(
    "SVHN",
    (
        Remote(_SVHN_BASE, "train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
        Remote(_SVHN_BASE, "test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
    ),
    _read_svhn,
    tuple("0123456789"),
)
DOWNLOADABLE = (CIFAR100, CIFAR10, FASHION_MNIST, SVHN)
