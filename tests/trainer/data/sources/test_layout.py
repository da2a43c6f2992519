import pytest

from trainer.data.cifar100 import COARSE_NAMES, FINE_NAMES, FINE_TO_COARSE
from trainer.data.errors import BadLayout
from trainer.data.sources.layout import plan_layout
from trainer.data.sources.members import Layout


def files(*folders: str, each: int = 2) -> list[str]:
    return [f"{folder}/{index:02d}.png" for folder in folders for index in range(each)]


def paths(layout: Layout, split: str) -> list[str]:
    return [member.path for name, members in layout.members.items() if name == split for member in members]


def test_train_and_test_folders() -> None:
    layout = plan_layout(files("train/dog", "test/dog", "train/cat", "test/cat"))
    assert layout.classes == ["cat", "dog"]
    assert layout.superclasses is None
    assert paths(layout, "train") == files("train/cat", "train/dog")
    assert paths(layout, "test") == files("test/cat", "test/dog")
    assert [member.label for member in layout.members["train"]] == [0, 0, 1, 1]


@pytest.mark.parametrize(("train", "test"), [("Train", "TEST"), ("training", "testing")])
def test_other_names_of_the_splits(train: str, test: str) -> None:
    layout = plan_layout(files(f"{train}/a", f"{train}/b", f"{test}/a", f"{test}/b"))
    assert paths(layout, "train") == files(f"{train}/a", f"{train}/b")
    assert paths(layout, "test") == files(f"{test}/a", f"{test}/b")


@pytest.mark.parametrize("name", ["val", "valid", "Validation", "dev"])
def test_a_validation_folder_is_the_validation_split(name: str) -> None:
    layout = plan_layout(files(*(f"{split}/{label}" for split in ("train", name, "test") for label in "ab")))
    assert paths(layout, "train") == files("train/a", "train/b")
    assert paths(layout, "val") == files(f"{name}/a", f"{name}/b")
    assert paths(layout, "test") == files("test/a", "test/b")
    assert not layout.test_drawn


def test_without_a_test_folder_a_fifth_of_the_training_images_is_the_test_split() -> None:
    train, val = files("train/a", "train/b", each=10), files("valid/a", "valid/b", each=4)
    layout = plan_layout([*train, *val])
    assert paths(layout, "val") == val
    assert sorted(paths(layout, "train") + paths(layout, "test")) == train
    assert [member.label for member in layout.members["test"]] == [0, 0, 1, 1]
    assert layout.test_drawn


def test_a_class_may_have_no_validation_image() -> None:
    layout = plan_layout(files("train/a", "train/b", "val/b", "test/a", "test/b"), ["val/a"])
    assert [member.label for member in layout.members["val"]] == [1, 1]


def test_folders_that_are_not_splits_are_classes() -> None:
    assert plan_layout(files("val", "dev")).classes == ["dev", "val"]
    assert plan_layout(files("train", "val", "bus")).classes == ["bus", "train", "val"]


def test_classes_alone_are_split_by_class_and_by_seed() -> None:
    names = files("a", "b", each=10)
    layout = plan_layout(names)
    assert sorted(paths(layout, "train") + paths(layout, "test")) == sorted(names)
    for split, each in (("train", 8), ("test", 2)):
        labels = [member.label for name, members in layout.members.items() if name == split for member in members]
        assert labels == [0] * each + [1] * each
    assert plan_layout(reversed(names)) == layout
    assert plan_layout(names, seed=1) != layout


def test_superclasses() -> None:
    layout = plan_layout(files("pets/dog", "farm/cow", "pets/cat", "farm/ant"))
    assert layout.classes == ["ant", "cat", "cow", "dog"]
    assert layout.superclasses == ["farm", "pets"]
    assert layout.fine_to_coarse == [0, 1, 0, 1]


def test_superclasses_within_splits() -> None:
    tree = [f"{split}/{name}" for split in ("train", "test") for name in ("pets/dog", "farm/cow", "pets/cat")]
    layout = plan_layout(files(*tree))
    assert layout.superclasses == ["farm", "pets"]
    assert layout.fine_to_coarse == [1, 0, 1]
    assert len(layout.members["test"]) == 6


@pytest.mark.parametrize("wrapper", ["cifar100/", "a/b/", "train/"])
def test_wrapping_folders_are_skipped_but_stay_in_the_paths(wrapper: str) -> None:
    names = files(f"{wrapper}a", f"{wrapper}b", each=5)
    layout = plan_layout([*names, "README.md", f"{wrapper}licence.txt"])
    assert layout.classes == ["a", "b"]
    assert sorted(paths(layout, "train") + paths(layout, "test")) == names


def test_a_class_may_be_called_train() -> None:
    layout = plan_layout(files("train", "test", "bus"))
    assert layout.classes == ["bus", "test", "train"]


def test_what_systems_leave_behind_is_ignored() -> None:
    junk = ["__MACOSX/a/._0.png", "a/.DS_Store", ".git/a/0.png", "a/Thumbs.db", ".hidden.png", "b/.x/1.png"]
    junk += ["a/@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg", "a/Icon\r", "System Volume Information/IndexerVolumeGuid"]
    junk += ["a/Picasa.ini", "b/ehthumbs.db", "$RECYCLE.BIN/a/0.png"]
    layout = plan_layout([*files("a", "b"), *junk], ["__MACOSX", ".git"])
    assert sorted(paths(layout, "train") + paths(layout, "test")) == files("a", "b")
    assert layout.other_files == {}


def test_files_that_are_no_images_are_counted_by_ending() -> None:
    others = ["a/0.txt", "a/1.txt", "b/Picasa.INI", "b/list.json", "README", "a/v1.2/notes.md"]
    layout = plan_layout([*files("a", "b"), *others])
    assert sorted(paths(layout, "train") + paths(layout, "test")) == files("a", "b")
    assert layout.other_files == {".txt": 2, ".json": 1, "": 1, ".md": 1}
    assert plan_layout(files("a", "b")).other_files == {}


def test_rare_endings_are_counted_together() -> None:
    layout = plan_layout([*files("a", "b"), *(f"a/{number}.x{number}" for number in range(50)), "a/x.txt", "b/y.txt"])
    assert len(layout.other_files) == 21
    assert layout.other_files[".txt"] == 2
    assert sum(layout.other_files.values()) == 52


@pytest.mark.parametrize(
    "name", ["a/IMG_1.HEIC", "a/scan.tiff", "a/0001", "a/drawing.svg", "a/cat.jfif", "a/12.05.2021"]
)
def test_what_may_be_an_image_is_imported_or_refused_by_name(name: str) -> None:
    layout = plan_layout([*files("a", "b"), name])
    assert name in paths(layout, "train") + paths(layout, "test")
    assert layout.other_files == {}


@pytest.mark.parametrize("pattern", ["{}/{}", "{}/{}.heic", "train/{}/{}"])
def test_images_may_all_be_without_an_ending(pattern: str) -> None:
    names = [pattern.format(kind, number) for kind in "ab" for number in range(4)]
    layout = plan_layout(names)
    assert (layout.classes, layout.total) == (["a", "b"], 8)


def test_a_class_of_photos_that_cannot_be_read_is_not_left_out() -> None:
    assert plan_layout([*files("a", "b"), "c/0.heic", "c/1.heic"]).classes == ["a", "b", "c"]


SPLITS = files("train/a", "train/b", "test/a", "test/b")


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (["annotations/labels.json"], ["annotations"]),
        (["papers/a.pdf", "papers/old/b.pdf", "LICENSE"], ["papers", "papers/old", "papers/empty"]),
        (["annotations/README"], []),
        ([], ["runs", "runs/1"]),
    ],
)
@pytest.mark.parametrize("wrapper", ["", "data/"])
def test_a_folder_without_images_beside_the_splits_is_none(names: list[str], folders: list[str], wrapper: str) -> None:
    layout = plan_layout([wrapper + name for name in [*SPLITS, *names]], [wrapper + name for name in folders])
    assert layout.classes == ["a", "b"]
    assert paths(layout, "test") == [wrapper + name for name in SPLITS[4:]]


def test_a_folder_without_images_beside_the_classes_is_none() -> None:
    images = files("food/images/a", "food/images/b")
    layout = plan_layout([*images, "food/meta/classes.txt"], ["food", "food/images", "food/images/a", "food/meta"])
    assert (layout.classes, layout.superclasses, layout.total) == (["a", "b"], None, 4)


def test_the_paths_named_are_those_in_the_source() -> None:
    with pytest.raises(BadLayout, match=r"these do not: test/0\.png") as caught:
        plan_layout([*files("train/a", "train/b"), "test/1.png", "test/0.png"])
    assert caught.value.detail == ["test/0.png", "test/1.png"]


def test_one_name_in_two_classes_is_fine() -> None:
    layout = plan_layout(["train/a/x.png", "train/b/x.png", "test/a/x.png", "test/b/x.png"])
    assert paths(layout, "train") == ["train/a/x.png", "train/b/x.png"]


def test_strange_class_names_are_kept() -> None:
    names = ["<script>alert(1)</script>", "\u202eevil", "naïve 猫"]
    assert plan_layout(files(*(name.replace("/", "") for name in names))).classes == sorted(
        name.replace("/", "") for name in names
    )


REFUSED = {
    "nothing at all": ([], [], "no images"),
    "no images": (["a/0.txt", "b/1.txt"], [], "no images"),
    "too many folders": ([*files("a", "b"), "a/" * 70 + "0.png"], [], "more than 64 folders"),
    "images in no folder": (["a.png", "b.png"], [], "these do not"),
    "some images in no folder": ([*files("a", "b"), "c.png"], [], r"c\.png"),
    "one class": (files("a"), [], "only one class"),
    "one class, wrapped": (files("data/a"), [], "only one class"),
    "an empty class": (files("a", "b"), ["a", "b", "c"], "c: no image"),
    "an empty superclass": (files("p/a", "q/b"), ["p", "q", "r"], "r: no image"),
    "a class without a test image": (files("train/a", "train/b", "test/a"), [], "b: no image in test/"),
    "a class without a training image": (files("train/a", "test/a", "test/b"), [], "b: no image in train/"),
    "a class with validation images alone": (
        files("train/a", "train/b", "val/c", "test/a", "test/b"),
        [],
        "c: no image in train/",
    ),
    "one image, no test folder": ([*files("train/a", "val/a", "val/b"), "train/b/1.png"], [], "b: one image"),
    "one image, no split": ([*files("a"), "b/1.png"], [], "b: one image"),
    "mixed depths": ([*files("a", "b"), "a/c/1.png"], [], r"a/c/1\.png"),
    "too deep": (files("a/b/c/d", "e/f/g/h"), [], "these do not"),
    "a class in two superclasses": (files("p/a", "q/a"), [], "a"),
    "a newline": (files("a", "b\nc"), [], "control character"),
    "undecodable": (files("a", "b\udcff"), [], "control character"),
    "a long name": (files("a", "b" * 1100), [], "longer than"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    names, folders, message = REFUSED[case]
    with pytest.raises(BadLayout, match=message):
        plan_layout(names, folders)


def test_every_problem_is_named_up_to_a_hundred() -> None:
    folders = [f"empty{number:03d}" for number in range(150)]
    with pytest.raises(BadLayout) as caught:
        plan_layout(files("a", "b"), folders)
    assert len(caught.value.detail) == 101
    assert caught.value.detail[-1] == "and 50 more"


def test_cifar100_is_recognised() -> None:
    layout = plan_layout(files(*reversed(FINE_NAMES)))
    assert layout.classes == FINE_NAMES
    assert layout.superclasses == COARSE_NAMES
    assert layout.fine_to_coarse == FINE_TO_COARSE
    spaced = plan_layout(files(*(name.replace("_", " ") for name in FINE_NAMES)))
    assert spaced.superclasses == COARSE_NAMES
    assert plan_layout(files(*FINE_NAMES[1:])).superclasses is None


def test_cifar100_facts() -> None:
    assert (len(FINE_NAMES), len(COARSE_NAMES)) == (100, 20)
    assert (FINE_NAMES[0], FINE_NAMES[99]) == ("apple", "worm")
    assert all(FINE_TO_COARSE.count(coarse) == 5 for coarse in range(20))
    assert COARSE_NAMES[FINE_TO_COARSE[FINE_NAMES.index("train")]] == "vehicles_1"
    # The map as it stands in the original's own files (train.bin).
    assert FINE_TO_COARSE[:10] == [4, 1, 14, 8, 0, 6, 7, 7, 18, 3]
