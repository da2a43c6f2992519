import dataclasses
import gzip
import hashlib
import io
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.trainer.data.sources.mirror import Mirror, serving
from trainer.data import cifar100
from trainer.data.errors import DatasetDamaged, UnknownSource
from trainer.data.format import DatasetRecord, open_split, read_files
from trainer.data.sources.torchvision import (
    CIFAR10,
    CIFAR100,
    DOWNLOADABLE,
    FASHION_MNIST,
    SVHN,
    Downloadable,
    add_downloadable,
    downloadable,
)

RNG = np.random.default_rng(0)


def pictures(count: int, side: int = 32) -> npt.NDArray[np.uint8]:
    return RNG.integers(0, 256, (count, side, side, 3), np.uint8)


def cifar_batch(images: npt.NDArray[np.uint8], *labels: npt.ArrayLike) -> bytes:
    columns = [np.asarray(label, np.uint8)[:, None] for label in labels]
    return np.hstack([*columns, images.transpose(0, 3, 1, 2).reshape(len(images), -1)]).tobytes()


def tarred(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    header = struct.pack(f">HBB{array.ndim}L", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes())


def mat(**arrays: npt.NDArray[np.uint8]) -> bytes:
    """MATLAB 5, compressed, as SVHN's files are."""

    def element(kind: int, data: bytes) -> bytes:
        if 0 < len(data) <= 4:
            return struct.pack("<2H", kind, len(data)) + data.ljust(4, b"\0")
        return struct.pack("<2L", kind, len(data)) + data + b"\0" * (-len(data) % 8)

    out = b"MATLAB 5.0 MAT-file".ljust(116) + b"\0" * 8 + struct.pack("<H", 0x0100) + b"IM"
    for name, array in arrays.items():
        matrix = (
            element(6, struct.pack("<2L", 9, 0))
            + element(5, struct.pack(f"<{array.ndim}l", *array.shape))
            + element(1, name.encode())
            + element(2, array.tobytes(order="F"))
        )
        packed = zlib.compress(element(14, matrix))
        out += struct.pack("<2L", 15, len(packed)) + packed
    return out


def add(root: Path, source: Downloadable, files: list[bytes], size: int | None = None) -> DatasetRecord:
    """Serves the files from this machine, under checksums of their own."""
    served = {remote.file: data for remote, data in zip(source.files, files, strict=True)}
    remotes = tuple(
        dataclasses.replace(remote, md5=hashlib.md5(served[remote.file]).hexdigest()) for remote in source.files
    )
    with serving(Mirror(served)) as mirror:
        source = dataclasses.replace(source, files=remotes)
        return add_downloadable(root, "set", source, base=mirror.base, size=size)


def test_cifar100(tmp_path: Path) -> None:
    train, test = pictures(5), pictures(3)
    archive = tarred(
        {
            "cifar-100-binary/train.bin": cifar_batch(train, [4, 14, 0, 3, 1], [0, 99, 4, 9, 1]),
            "cifar-100-binary/test.bin": cifar_batch(test, [4, 4, 4], [0, 0, 0]),
        }
    )
    record = add(tmp_path, CIFAR100, [archive])
    assert (record.size, record.train_count, record.test_count) == (32, 5, 3)
    assert record.classes == cifar100.FINE_NAMES
    assert record.superclasses == cifar100.COARSE_NAMES
    assert record.source == "torchvision:CIFAR100"
    images, labels = open_split(tmp_path, "set", "train")
    assert np.array_equal(images, train)
    assert labels.tolist() == [0, 99, 4, 9, 1]
    assert np.array_equal(open_split(tmp_path, "set", "test")[0], test)
    assert read_files(tmp_path, "set", "train")[3] == "cifar-100-binary/train.bin/00003"


def test_cifar10_joins_its_batches(tmp_path: Path) -> None:
    batches = [pictures(2) for _ in range(6)]
    names = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]
    archive = tarred(
        {f"cifar-10-batches-bin/{name}": cifar_batch(batch, [1, 9]) for name, batch in zip(names, batches, strict=True)}
    )
    record = add(tmp_path, CIFAR10, [archive])
    assert record.superclasses is None
    images, labels = open_split(tmp_path, "set", "train")
    assert np.array_equal(images, np.concatenate(batches[:5]))
    assert labels.tolist() == [1, 9] * 5


def test_fashion_mnist_is_fitted_to_a_size_that_is_offered(tmp_path: Path) -> None:
    grey = RNG.integers(0, 256, (4, 28, 28), np.uint8)
    grey[0] = 200
    files = [idx(grey), idx(np.array([0, 9, 1, 2], np.uint8)), idx(grey[:2]), idx(np.array([3, 4], np.uint8))]
    record = add(tmp_path, FASHION_MNIST, files)
    images, labels = open_split(tmp_path, "set", "train")
    assert record.size == 32
    assert images.shape == (4, 32, 32, 3)
    assert (images[0] == 200).all()
    assert (images[..., 0] == images[..., 2]).all()
    assert labels.tolist() == [0, 9, 1, 2]
    assert open_split(tmp_path, "set", "test")[1].tolist() == [3, 4]


def test_svhn_and_its_tens(tmp_path: Path) -> None:
    train, test = pictures(12), pictures(2)
    files = [
        mat(X=train.transpose(1, 2, 3, 0), y=np.array([[10], [1], [9]] * 4, np.uint8)),
        mat(X=test.transpose(1, 2, 3, 0), y=np.array([[2], [10]], np.uint8)),
    ]
    record = add(tmp_path, SVHN, files)
    assert record.classes == list("0123456789")
    images, labels = open_split(tmp_path, "set", "train")
    assert np.array_equal(images, train)
    assert labels.tolist() == [0, 1, 9] * 4
    assert open_split(tmp_path, "set", "test")[1].tolist() == [2, 0]


def test_another_size_is_resampled(tmp_path: Path) -> None:
    batch = cifar_batch(np.full((2, 32, 32, 3), 77, np.uint8), [0, 1], [0, 1])
    archive = tarred({"cifar-100-binary/train.bin": batch, "cifar-100-binary/test.bin": batch})
    add(tmp_path, CIFAR100, [archive], size=64)
    images, _ = open_split(tmp_path, "set", "train")
    assert images.shape == (2, 64, 64, 3)
    assert (images == 77).all()


@pytest.mark.parametrize(
    "archive",
    [
        b"no archive",
        tarred({}),
        tarred({"cifar-100-binary/train.bin": b"x" * 5000, "cifar-100-binary/test.bin": b""}),
    ],
    ids=["no archive", "an empty one", "files of a wrong size"],  # an archive's bytes hold the time
)
def test_a_damaged_archive_is_told_and_leaves_no_data_set(tmp_path: Path, archive: bytes) -> None:
    with pytest.raises(DatasetDamaged):
        add(tmp_path, CIFAR100, [archive])
    assert [path.name for path in tmp_path.iterdir()] == [".downloads"]


@pytest.mark.parametrize("cut", [0, 100, 130, 200, -5])
def test_a_damaged_matlab_file_is_told_and_leaves_no_data_set(tmp_path: Path, cut: int) -> None:
    whole = mat(X=pictures(2).transpose(1, 2, 3, 0), y=np.array([[1], [2]], np.uint8))
    with pytest.raises(DatasetDamaged, match="SVHN was downloaded, but cannot be read"):
        add(tmp_path, SVHN, [whole[:cut], whole])
    assert [path.name for path in tmp_path.iterdir()] == [".downloads"]


@pytest.mark.parametrize(
    "content",
    [
        b"no MATLAB file",
        b"x" * 5000,
        b"\0" * 5000,
        b"\x89HDF\r\n\x1a\n" + b"\0" * 600,
        b"MATLAB".ljust(124) + b"\0\2IM",
    ],
    ids=["text", "letters", "zeros", "HDF5", "version 7.3"],
)
def test_what_is_no_matlab_5_file_is_told(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DatasetDamaged):
        add(tmp_path, SVHN, [content, content])


def test_a_matlab_file_without_labels_is_told(tmp_path: Path) -> None:
    images = mat(X=pictures(1).transpose(1, 2, 3, 0))
    with pytest.raises(DatasetDamaged, match="'y'"):
        add(tmp_path, SVHN, [images, images])


def test_names_are_known_in_any_case() -> None:
    assert downloadable("cifar100") is CIFAR100
    with pytest.raises(UnknownSource, match="CIFAR100, CIFAR10, FashionMNIST, SVHN"):
        downloadable("ImageNet")


def test_checksums_are_those_torchvision_holds() -> None:
    """CIFAR's aside: torchvision downloads its pickled version, here the binary one is read."""
    datasets = pytest.importorskip("torchvision.datasets")
    assert {(r.file, r.md5) for r in FASHION_MNIST.files} == set(datasets.FashionMNIST.resources)
    known = {(file, md5) for _, file, md5 in datasets.SVHN.split_list.values()}
    assert {(remote.file, remote.md5) for remote in SVHN.files} <= known
    assert {source.name for source in DOWNLOADABLE} <= set(dir(datasets))
