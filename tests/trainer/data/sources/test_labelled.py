from dataclasses import replace

import pytest

from trainer.data.errors import BadLayout, BadManifest, BadOption
from trainer.data.sources.labelled import Labelling, plan_import, plan_manifests
from trainer.data.sources.manifest import read_manifest
from trainer.data.sources.members import Layout

TWO_CLASSES = b"file_name,label\n" + b"".join(b"%d.png,%s\n" % (n, b"ab"[n % 2 : n % 2 + 1]) for n in range(10))
TEN_FILES = [f"{number}.png" for number in range(10)]


def planned(files: list[str], content: str | bytes, *, group_level: int | None = None) -> Layout:
    content = content.encode() if isinstance(content, str) else content
    return plan_manifests(files, [read_manifest("m.csv", content)], group_level=group_level, beside=False)


def labels_of(layout: Layout) -> dict[str, str]:
    return {item.path: layout.classes[item.label] for items in layout.members.values() for item in items}


def imported(tree: dict[str, bytes], labelling: Labelling = Labelling()) -> Layout:
    return plan_import(list(tree), [], tree.__getitem__, labelling)


def test_rows_decide_on_classes_and_splits() -> None:
    content = (
        "file_name,label,split\nx/1.png,dog,train\nx/2.png,cat,train\n3.png,dog,test\ny/4.png,cat,test\n5.png,cat,dev\n"
    )
    layout = planned(["x/1.png", "x/2.png", "3.png", "y/4.png", "5.png", "x/left.png", "notes.txt"], content)
    assert layout.classes == ["cat", "dog"]
    assert {split: [item.path for item in items] for split, items in layout.members.items()} == {
        "train": ["x/2.png", "x/1.png"],
        "test": ["y/4.png", "3.png"],
        "val": ["5.png"],
    }
    assert (layout.test_drawn, layout.manifest) == (False, "m.csv")
    assert layout.other_files == {".png": 1, ".txt": 1}


def test_without_splits_a_fifth_is_drawn() -> None:
    layout = planned(TEN_FILES, TWO_CLASSES)
    assert (layout.test_drawn, len(layout.members["train"]), len(layout.members["test"])) == (True, 8, 2)
    assert layout == planned(TEN_FILES[::-1], TWO_CLASSES)


def test_classes_that_are_numbers_are_in_their_order() -> None:
    rows = "".join(f"{number}.png,{number}\n{number}b.png,{number}\n" for number in range(12))
    files = [f"{number}{letter}.png" for number in range(12) for letter in ("", "b")]
    assert planned(files, f"file,label\n{rows}").classes == [str(number) for number in range(12)]


@pytest.mark.parametrize(
    "written",
    [
        "images/cat/1.png",
        "./images/cat/1.png",
        "images\\cat\\1.png",
        "cat/1.png",
        "1.png",
        "1",
        "cat/1",
        "/home/anna/set/images/cat/1.png",
        "C:\\set\\images\\cat\\1.png",
        "/data/local-files/?d=set/images/cat/1.png",
        "/data/upload/3/0a1b2c3d-1.png",
        "https://example.org/images/cat/1.png?x=1",
    ],
)
def test_how_programs_write_the_name_of_a_file(written: str) -> None:
    files = ["images/cat/1.png", "images/cat/2.png", "images/dog/3.png", "images/dog/4.png"]
    layout = planned(files, f"file,label\n{written},cat\n2.png,cat\n3.png,dog\n4.png,dog\n")
    assert labels_of(layout) == {file: file.split("/")[1] for file in files}


def test_kaggle_names_files_of_the_folder_that_its_table_is_called_after() -> None:
    files = [f"{split}/{number}.jpg" for split in ("train", "test") for number in range(4)]
    tree = {**dict.fromkeys(files, b""), "train.csv": b"id,breed\n0,a\n1,a\n2,b\n3,b\n"}
    assert sorted(labels_of(imported(tree))) == [f"train/{number}.jpg" for number in range(4)]


@pytest.mark.parametrize("wrapper", ["", "set/"])
def test_hugging_faces_tables_lie_in_the_folders_of_the_splits(wrapper: str) -> None:
    tree: dict[str, bytes] = {}
    for split in ("train", "validation", "test"):
        tree |= {f"{wrapper}{split}/{number}.png": b"" for number in range(2)}
        tree[f"{wrapper}{split}/metadata.jsonl"] = (
            b'{"file_name": "0.png", "label": "a"}\n{"file_name": "1.png", "label": "b"}\n'
        )
    layout = imported(tree)
    assert {split: len(items) for split, items in layout.members.items()} == {"train": 2, "val": 2, "test": 2}
    assert (layout.classes, layout.other_files) == (["a", "b"], {})


@pytest.mark.parametrize("folder", ["", "scans/", "set/scans/"])
@pytest.mark.parametrize("name", ["manifest.csv", "metadata.csv", "Labels.CSV"])
def test_a_manifest_is_found_beside_the_images(folder: str, name: str) -> None:
    tree = {**dict.fromkeys([f"{folder}{file}" for file in TEN_FILES], b""), f"{folder}{name}": TWO_CLASSES}
    assert (imported(tree).manifest, imported(tree).total) == (f"{folder}{name}", 10)


def test_a_manifest_is_found_above_the_images() -> None:
    tree = {**dict.fromkeys([f"set/images/{file}" for file in TEN_FILES], b""), "set/labels.csv": TWO_CLASSES}
    assert imported(tree).manifest == "set/labels.csv"


def test_folders_decide_where_the_table_has_no_classes() -> None:
    tree = {
        **dict.fromkeys([f"{name}/{n}.png" for name in "ab" for n in range(2)], b""),
        "metadata.csv": b"file,text\n",
    }
    assert imported(tree).manifest == ""


def test_a_manifest_that_is_given_wins_over_one_that_lies_there(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("given") / "given.csv"
    path.write_bytes(TWO_CLASSES)
    tree = {
        **dict.fromkeys(TEN_FILES, b""),
        "labels.csv": b"file,label\n" + b"".join(b"%d.png,z\n" % n for n in range(10)),
    }
    layout = imported(tree, Labelling(path))
    assert (layout.manifest, layout.classes, layout.other_files) == ("given.csv", ["a", "b"], {".csv": 1})


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        ("file,label\n0.png,a\n77.png,b\n", ["line 3: there is no file 77.png"]),
        ("file,label\n0.png,a\n0.png,a\n", ["lines 2 and 3: 0.png is named twice"]),
        ("file,label\n0.png,a\n./0.png,b\n", ["lines 2 and 3: 0.png is named twice, once as a and once as b"]),
        ("file,label\n1,a\n", ["line 2: 1 may be any of 2 files: 1.png, x/1.png"]),
    ],
)
def test_rows_that_do_not_fit_the_files(content: str, detail: list[str]) -> None:
    with pytest.raises(BadManifest) as caught:
        planned([*TEN_FILES, "x/1.png"], content)
    assert caught.value.detail == detail


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        ("file,label\n0.png,a\n1.png,a\n", ["a"]),
        ("file,label\n0.png,a\n1.png,a\n2.png,b\n", ["b: one image; to split off a test set takes two"]),
        ("file,label,split\n0.png,a,train\n1.png,b,train\n2.png,b,test\n", ["a: no image in test"]),
        ("file,label,split\n0.png,a,test\n1.png,b,test\n", ["a: no image in train", "b: no image in train"]),
    ],
)
def test_classes_without_images(content: str, detail: list[str]) -> None:
    with pytest.raises(BadLayout) as caught:
        planned(TEN_FILES, content)
    assert caught.value.detail == detail


def test_groups_by_a_column_and_by_folders_are_the_same() -> None:
    files = [f"site{site}/{number}.png" for site in range(5) for number in range(4)]
    rows = "".join(f"{file},{'ab'[number % 2]},{file.split('/')[0]}\n" for number, file in enumerate(files))
    by_column = planned(files, f"file,label,group\n{rows}")
    assert by_column.groups == [f"site{site}" for site in range(5)]
    without = "".join(f"{line.rsplit(',', 1)[0]}\n" for line in f"file,label,group\n{rows}".splitlines())
    assert planned(files, without, group_level=1) == replace(by_column, columns=[])
    for split, other in (("train", "test"), ("test", "train")):
        of_split = {item.group for name, items in by_column.members.items() if name == split for item in items}
        assert of_split.isdisjoint(
            item.group for name, items in by_column.members.items() if name == other for item in items
        )


def test_a_column_of_groups_needs_a_manifest() -> None:
    with pytest.raises(BadOption, match="and there is none"):
        imported(dict.fromkeys(["a/1.png", "b/1.png"], b""), Labelling(group_column="patient"))


def test_a_file_that_lies_in_too_few_folders_for_groups() -> None:
    with pytest.raises(BadManifest) as caught:
        planned(TEN_FILES, TWO_CLASSES, group_level=1)
    assert caught.value.detail[0] == "line 2: 0.png lies in fewer than 1 folders"
