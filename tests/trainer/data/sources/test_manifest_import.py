"""Datasets that are imported by a manifest, and datasets with groups."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from tests.trainer.data.pictures import png, tree, write_tree, write_zip
from trainer.data.errors import BadOption, UnreadableImages
from trainer.data.format import DatasetRecord, Split, damaged_files, open_split, read_files
from trainer.data.groups import read_folds, read_group_names, read_groups, read_weights
from trainer.data.sources.labelled import Labelling
from trainer.data.sources.source import add_dataset

KINDS = ("cat", "dog", "eel")


def flat_set(folder: Path, *, patients: int = 10, extra: str = "") -> Path:
    """Sixty images in one folder, and labels.csv beside them; file n is of patient n modulo `patients`."""
    folder.mkdir()
    rows = []
    for number in range(60):
        (folder / f"{number:02d}.png").write_bytes(png(number))
        rows.append(f"{number:02d}.png,{KINDS[number % 3]},p{number % patients}\n")
    (folder / "labels.csv").write_text(f"file_name,label,patient\n{''.join(rows)}{extra}")
    return folder


def split_groups(root: Path, record: DatasetRecord) -> dict[Split, set[int]]:
    return {split: set(read_groups(root, record, split).tolist()) for split in record.splits}


def test_a_manifest_gives_what_image_folder_reads_of_the_same_images(tmp_path: Path) -> None:
    rng = random.Random(0)
    source, sorted_ones = tmp_path / "flat", tmp_path / "sorted"
    source.mkdir()
    lines = ["image;class;set"]
    for number in range(60):
        kind, split = rng.choice(KINDS), ("train", "train", "valid", "test")[number % 4]
        (source / f"{number}.png").write_bytes(png(number))
        (sorted_ones / split / kind).mkdir(parents=True, exist_ok=True)
        shutil.copy(source / f"{number}.png", sorted_ones / split / kind)
        lines.append(f"{number}.png;{kind};{split}")
    manifest = tmp_path / "rows.csv"
    manifest.write_text("\n".join(lines), "utf-16")
    root = tmp_path / "datasets"
    record = add_dataset(root, "pets", str(source), labelling=Labelling(manifest))
    folders: tuple[tuple[Split, str], ...] = (("train", "train"), ("val", "valid"), ("test", "test"))
    for split, folder in folders:
        reader = ImageFolder(sorted_ones / folder)
        images, labels = open_split(root, "pets", split)
        names = read_files(root, "pets", split)
        found = {
            Path(name).name: (int(label), image.tobytes())
            for name, label, image in zip(names, labels, images, strict=True)
        }
        expected = {}
        for path, label in reader.samples:
            with Image.open(path) as image:
                expected[Path(path).name] = (label, np.asarray(image.convert("RGB")).tobytes())
        assert reader.classes == record.classes
        assert found == expected
    assert (record.manifest, record.test_drawn, record.groups) == ("rows.csv", False, None)


@pytest.mark.parametrize("zipped", [False, True])
def test_groups_are_kept_whole_and_recorded(tmp_path: Path, zipped: bool) -> None:
    source = flat_set(tmp_path / "flat")
    if zipped:
        source = write_zip(tmp_path / "flat.zip", {path.name: path.read_bytes() for path in source.iterdir()})
    root = tmp_path / "datasets"
    record = add_dataset(root, "pets", str(source), labelling=Labelling(group_column="patient"))
    assert (record.groups, record.shared_groups, record.manifest) == (10, 0, "labels.csv")
    assert (record.train_count, record.test_count, record.test_drawn) == (48, 12, True)
    names = read_group_names(root, record)
    of = split_groups(root, record)
    assert of["train"].isdisjoint(of["test"])
    for split in record.splits:
        for file, group in zip(read_files(root, "pets", split), read_groups(root, record, split), strict=True):
            assert names[group] == f"p{int(file[:2]) % 10}"
    folds, groups = read_folds(root, record), read_groups(root, record, "train")
    assert all(len(set(folds[groups == group])) == 1 for group in of["train"])
    assert damaged_files(root, record) == []


def test_folders_of_a_level_are_groups(tmp_path: Path) -> None:
    names = [f"{kind}/camera{camera}" for kind in ("cat", "dog") for camera in range(6)]
    root = tmp_path / "datasets"
    source = write_tree(tmp_path / "pets", tree(*names, each=3))
    record = add_dataset(root, "pets", str(source), labelling=Labelling(group_level=2))
    assert (record.classes, record.superclasses, record.groups) == (["cat", "dog"], None, 6)
    of = split_groups(root, record)
    assert of["train"].isdisjoint(of["test"])
    with pytest.raises(BadOption, match="at least 1"):
        add_dataset(root, "pets", str(source), labelling=Labelling(group_level=0))
    with pytest.raises(BadOption, match="not for shapes100"):
        add_dataset(root, "pets", "shapes100", labelling=Labelling(group_level=1))


def test_given_splits_that_part_groups_are_counted(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "pets", tree("train/cat", "train/dog", "test/cat", "test/dog", each=4))
    lines = ["file,label,split,group"]
    for path in sorted(source.rglob("*.png")):
        split, kind, name = path.relative_to(source).parts
        lines.append(f"{split}/{kind}/{name},{kind},{split},{kind}{name if kind == 'cat' else split}")
    (source / "manifest.csv").write_text("\n".join(lines))
    record = add_dataset(tmp_path / "datasets", "pets", str(source))
    assert (record.groups, record.shared_groups) == (6, 4)


def test_an_unreadable_image_is_named_or_skipped_with_its_weight_and_group(tmp_path: Path) -> None:
    source = tmp_path / "flat"
    source.mkdir()
    lines = ["file_name,label,weight,group"]
    for number in range(40):
        (source / f"{number:02d}.png").write_bytes(b"no image" if number == 7 else png(number))
        lines.append(f"{number:02d}.png,{'ab'[number % 2]},{number},g{number // 2}")
    (source / "metadata.csv").write_text("\n".join(lines))
    root = tmp_path / "datasets"
    with pytest.raises(UnreadableImages, match="1 of 40 images cannot be read"):
        add_dataset(root, "pets", str(source))
    record = add_dataset(root, "pets", str(source), on_unreadable="skip")
    assert (record.skipped, record.train_count + record.test_count) == (1, 39)
    weights = read_weights(root, record)
    assert weights is not None
    assert weights.dtype == np.float32
    assert weights.tolist() == [int(name[:2]) for name in read_files(root, "pets", "train")]
    names, groups = read_group_names(root, record), read_groups(root, record, "train")
    assert [names[group] for group in groups] == [
        f"g{int(name[:2]) // 2}" for name in read_files(root, "pets", "train")
    ]
    of = split_groups(root, record)
    assert of["train"].isdisjoint(of["test"])
