import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.datasets.notes import dark
from tests.app.predictor.slow_images import slow_webp
from tests.trainer.data.pictures import (
    chunk,
    encoded,
    noise,
    odd_png,
    png,
    slow_jpeg,
    tall_png,
    tree,
    write_tree,
    write_zip,
)
from trainer.data.errors import BadOption, DatasetError, UnknownSource, UnreadableImages
from trainer.data.fit import read_image
from trainer.data.format import DatasetRecord, open_split, read_files, read_files_of, read_record, read_skipped
from trainer.data.image_formats import FORMATS
from trainer.data.sources.archive import Limits
from trainer.data.sources.source import add_dataset
from trainer.data.survey import LARGEST_MEAN, measure

SPLIT = tree("train/cat", "train/dog", "test/cat", "test/dog", each=3)


def add(root: Path, source: Path, **options: Any) -> DatasetRecord:
    return add_dataset(root, "pets", str(source), **options)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "datasets"


@pytest.mark.parametrize("processes", [1, 2])
def test_a_zip_is_imported_pixel_by_pixel(tmp_path: Path, root: Path, processes: int) -> None:
    files = tree("p/train/cat", "p/train/dog", "p/test/cat", "p/test/dog", each=60)
    record = add(root, write_zip(tmp_path / "pets.zip", files), processes=processes)
    assert record == read_record(root, "pets")
    assert (record.size, record.train_count, record.test_count, record.source) == (32, 120, 120, "pets.zip")
    images, labels = open_split(root, "pets", "train")
    names = read_files(root, "pets", "train")
    assert read_files_of(root, "pets", "train", [2, 0, 2]) == [names[2], names[0], names[2]]
    assert names == sorted(name for name in files if "/train/" in name)
    for image, label, name in zip(images, labels, names, strict=True):
        assert record.classes[label] == name.split("/")[-2]
        with Image.open(write_tree(tmp_path, {"one.png": files[name]}) / "one.png") as original:
            assert np.array_equal(image, np.asarray(original))


def test_a_folder_gives_the_same_as_its_zip(tmp_path: Path, root: Path) -> None:
    folder = add(root, write_tree(tmp_path / "pets", SPLIT))
    zipped = add(root, write_zip(tmp_path / "pets.zip", SPLIT))
    assert (folder.name, zipped.name) == ("pets", "pets@2")
    assert folder.sha256 == zipped.sha256
    assert read_files(root, "pets", "test") == read_files(root, "pets@2", "test")


def test_progress_is_told_and_ends_at_the_total(tmp_path: Path, root: Path) -> None:
    told: list[tuple[int, int, str]] = []
    add(root, write_tree(tmp_path / "pets", SPLIT), progress=lambda *step: told.append(step))
    decoding = [(done, total) for done, total, what in told if what == "decoding"]
    assert decoding[0] == (0, 12)
    assert decoding[-1] == (12, 12)
    assert [what for _, _, what in told][-1] == "measuring"


BROKEN = {
    "train/cat/text.jpg": b"this is a text",
    "train/dog/cut.png": png(1)[:-40],
    "test/dog/page.svg": b"<svg xmlns='http://www.w3.org/2000/svg'></svg>",
    "test/cat/empty.png": b"",
}


def test_refusing_names_every_bad_file_and_writes_nothing(tmp_path: Path, root: Path) -> None:
    source = write_zip(tmp_path / "pets.zip", SPLIT | BROKEN)
    with pytest.raises(UnreadableImages, match="4 of 16") as caught:
        add(root, source)
    named = {file["file"]: file["code"] for file in caught.value.detail["files"]}
    assert named == dict.fromkeys(BROKEN, "unreadable_image") | {"test/dog/page.svg": "unsupported_image"}
    assert all(file["reason"] for file in caught.value.detail["files"])
    assert list(root.iterdir()) == []


def test_skipping_leaves_them_out_and_says_so(tmp_path: Path, root: Path) -> None:
    whole = add(root, write_zip(tmp_path / "whole.zip", SPLIT))
    record = add(root, write_zip(tmp_path / "pets.zip", SPLIT | BROKEN), on_unreadable="skip")
    assert record.name == "pets@2"
    assert record.sha256 == whole.sha256
    assert record.skipped == 4
    assert sorted(path for path, _ in read_skipped(root, record.name)) == sorted(BROKEN)
    assert read_files(root, record.name, "train") == read_files(root, "pets", "train")


def names_of(root: Path, name: str) -> dict[str, list[str]]:
    return {split: read_files(root, name, split) for split in ("train", "test")}


@pytest.mark.parametrize("bad", [f"cat/{index}.png" for index in range(5)] + ["dog/0.png"])
def test_the_test_split_is_drawn_from_the_images_that_can_be_read(tmp_path: Path, root: Path, bad: str) -> None:
    files = tree("cat", "dog", each=5)
    record = add(root, write_zip(tmp_path / "cut.zip", files | {bad: files[bad][:60]}), on_unreadable="skip")
    assert (record.train_count, record.test_count, record.skipped) == (7, 2, 1)
    assert [path for path, _ in read_skipped(root, record.name)] == [bad]
    whole = add(root, write_zip(tmp_path / "whole.zip", {name: data for name, data in files.items() if name != bad}))
    assert record.sha256 == whole.sha256
    assert names_of(root, record.name) == names_of(root, whole.name)


def test_many_unreadable_images_give_the_dataset_without_them(tmp_path: Path, root: Path) -> None:
    files = tree("cat", "dog", each=60)
    bad = [name for index, name in enumerate(files) if index % 3 == 0]
    folder = write_tree(tmp_path / "cut", files | dict.fromkeys(bad, b"x"))
    record = add(root, folder, on_unreadable="skip", processes=2)
    assert record.skipped == 40
    for name in bad:
        (folder / name).unlink()
    assert record.sha256 == add(root, folder).sha256


def test_a_class_of_one_readable_image_is_named(tmp_path: Path, root: Path) -> None:
    with pytest.raises(UnreadableImages, match="none left in train: cow") as caught:
        add(
            root,
            write_zip(tmp_path / "pets.zip", tree("cat", "dog", "cow") | {"cow/1.png": b"x"}),
            on_unreadable="skip",
        )
    assert caught.value.detail["classes"] == ["cow"]


def test_label_files_beside_images_are_counted_and_not_imported(tmp_path: Path, root: Path) -> None:
    files = tree("cat", "dog", each=5)
    labels = {name.replace(".png", ".txt"): b"0 0.5 0.5 1 1" for name in files}
    record = add(root, write_zip(tmp_path / "labels.zip", files | labels))
    assert (record.train_count, record.test_count, record.skipped, record.other_files) == (8, 2, 0, {".txt": 10})
    assert read_record(root, record.name) == record
    assert record.sha256 == add(root, write_zip(tmp_path / "images.zip", files)).sha256


def test_an_error_names_a_hundred_files_and_counts_the_rest(tmp_path: Path, root: Path) -> None:
    bad = {f"c{index % 2}/{index}.png": b"x" for index in range(250)}
    source = write_zip(tmp_path / "bad.zip", bad | {"c0/a.png": png(1), "c1/a.png": png(2)})
    with pytest.raises(UnreadableImages, match="250 of 252") as caught:
        add(root, source, processes=1)
    assert (len(caught.value.detail["files"]), caught.value.detail["unreadable"]) == (100, 250)
    with pytest.raises(UnreadableImages) as caught:
        add(root, source, on_unreadable="skip", processes=1)
    assert (len(caught.value.detail["files"]), caught.value.detail["unreadable"]) == (100, 250)


def test_an_error_names_a_hundred_classes_and_counts_the_rest(tmp_path: Path, root: Path) -> None:
    bad = {f"c{index}/{image}.png": b"x" for index in range(150) for image in range(2)}
    source = write_zip(tmp_path / "bad.zip", bad | tree("good", each=2))
    with pytest.raises(UnreadableImages, match="none left in train: c0, …") as caught:
        add(root, source, on_unreadable="skip", processes=1)
    assert (len(caught.value.detail["classes"]), caught.value.detail["emptied"]) == (100, 150)


HOSTILE = {
    "train/cat/palette.png": odd_png(b""),
    "train/dog/transparency.png": odd_png(chunk(b"PLTE", bytes(6)) + chunk(b"tRNS", bytes(300))),
    "train/dog/slow.webp": slow_webp(),
    "test/cat/scans.jpg": slow_jpeg(),
    "test/dog/tall.png": tall_png(),
}


def test_an_image_that_hangs_or_breaks_the_decoder_costs_that_image_alone(tmp_path: Path, root: Path) -> None:
    source = write_tree(tmp_path / "pets", SPLIT | HOSTILE)
    record = add(root, source, size=32, fit="pad", limits=Limits(seconds=0.3), on_unreadable="skip")
    assert (record.train_count, record.test_count) == (6, 6)
    found = dict(read_skipped(root, record.name))
    assert found.keys() == HOSTILE.keys()
    assert found["train/dog/slow.webp"] == "The image takes too long to decode."
    assert "scans, which takes too long" in found["test/cat/scans.jpg"]  # refused at once, as by a prediction
    assert "a side has more than" in found["test/dog/tall.png"]


def test_a_header_that_breaks_the_decoder_does_not_end_the_import(tmp_path: Path, root: Path) -> None:
    """The size is that of the other images; decoding names the file."""
    source = write_zip(tmp_path / "pets.zip", SPLIT | {"train/cat/a.png": odd_png(b"", width=0)})
    assert add(root, source, on_unreadable="skip").size == 32


def test_a_class_that_skipping_would_empty_is_named(tmp_path: Path, root: Path) -> None:
    files = SPLIT | {"train/cow/1.png": b"x", "test/cow/1.png": png(1)}
    with pytest.raises(UnreadableImages, match="cow") as caught:
        add(root, write_zip(tmp_path / "pets.zip", files), on_unreadable="skip")
    assert caught.value.detail["classes"] == ["cow"]


def test_sizes_and_fits(tmp_path: Path, root: Path) -> None:
    wide = Image.new("RGB", (96, 48), (0, 255, 0))
    wide.paste((255, 0, 0), (0, 0, 24, 48))
    files = {f"{split}/{name}/1.png": encoded(wide) for split in ("train", "test") for name in "ab"}
    source = write_zip(tmp_path / "wide.zip", files)
    corner = {}
    for fit in ("crop", "pad", "squash"):
        record = add(root, source, size=128, fit=fit)
        images, _ = open_split(root, record.name, "train")
        assert images.shape == (2, 128, 128, 3)
        assert record.fit == fit
        corner[fit] = images[0, 4, 4].tolist()
    assert corner == {"crop": [0, 255, 0], "pad": [128, 128, 128], "squash": [255, 0, 0]}


@pytest.mark.parametrize("size", [16, 97, 512])
def test_any_size_from_16_to_512_can_be_chosen(tmp_path: Path, root: Path, size: int) -> None:
    record = add(root, write_zip(tmp_path / "pets.zip", tree("cat", "dog", each=5)), size=size)
    images, _ = open_split(root, record.name, "train")
    assert (record.size, images.shape) == (size, (8, size, size, 3))
    statistics, measures = measure(root, record.name)
    assert statistics.counts["train"] == [4, 4]
    assert max(measures.means.shape[1:3]) <= LARGEST_MEAN


def test_images_of_16_bits_are_scaled_by_their_type_and_counted(tmp_path: Path, root: Path) -> None:
    levels = np.tile(np.linspace(0, 4095, 32).astype(np.uint16), (32, 1))
    deep = {f"train/cat/deep.{kind.lower()}": encoded(Image.fromarray(levels), kind) for kind in ("PNG", "TIFF")}
    record = add(root, write_zip(tmp_path / "scans.zip", SPLIT | deep), size=32)
    assert record.deep == 2
    assert record.deep_peak == pytest.approx(4095 / 65535)
    assert (note := dark(record)) is not None
    assert "The 2 images of 16 bits have values up to 4,095 of 65,535" in note.message
    row = read_files(root, record.name, "train").index("train/cat/deep.png")
    pixels = open_split(root, record.name, "train")[0][row]
    assert np.array_equal(pixels[0, :, 0], (levels[0] * np.float32(255 / 65535)).round())
    assert np.array_equal(pixels, read_image(deep["train/cat/deep.png"], 32, "crop"))  # as for a prediction
    bright = {"train/cat/deep.png": encoded(Image.fromarray(levels * 16))}
    record = add(root, write_zip(tmp_path / "bright.zip", SPLIT | bright), size=32)
    assert record.deep == 1
    assert dark(record) is None


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(32, 32)] * 4, 32),
        ([(224, 224)] * 4, 224),
        ([(28, 28)] * 4, 28),
        ([(32, 32)] * 3 + [(48, 48)], 64),
        ([(48, 32)] * 4, 64),
        ([(15, 15)] * 4, 64),
        ([(225, 225)] * 4, 64),
    ],
)
def test_without_a_size_the_images_own_is_taken(
    tmp_path: Path, root: Path, sizes: list[tuple[int, int]], expected: int
) -> None:
    names = [f"{split}/{name}/1.png" for split in ("train", "test") for name in "ab"]
    files = {name: png(1, *size) for name, size in zip(names, sizes, strict=True)}
    assert add(root, write_zip(tmp_path / "set.zip", files)).size == expected


def test_identical_images_under_conflicting_labels_are_kept(tmp_path: Path, root: Path) -> None:
    files = {f"{split}/{name}/same.png": png(5) for split in ("train", "test") for name in ("cat", "dog")}
    record = add(root, write_zip(tmp_path / "same.zip", files))
    images, labels = open_split(root, record.name, "train")
    assert np.array_equal(images[0], images[1])
    assert labels.tolist() == [0, 1]


def test_a_link_to_a_file_is_followed_and_a_dangling_one_named(tmp_path: Path, root: Path) -> None:
    source = write_tree(tmp_path / "pets", SPLIT)
    (source / "train/cat/link.png").symlink_to(source / "train/cat/0.png")
    assert add(root, source).train_count == 7
    (source / "train/cat/gone.png").symlink_to(source / "nowhere.png")
    with pytest.raises(UnreadableImages, match="1 of 14"):
        add(root, source)


def encode_as(name: str) -> bytes:
    (known,) = (known for known in FORMATS if name.endswith(known.endings))
    return encoded(noise(7), known.pillow)


def test_modes_and_formats_in_one_set(tmp_path: Path, root: Path) -> None:
    images = [noise(1).convert(mode) for mode in ("L", "P", "RGBA", "CMYK", "1", "LA")]
    files = {
        f"{split}/{name}/{index}.{'jpg' if image.mode == 'CMYK' else 'png'}": encoded(
            image, "JPEG" if image.mode == "CMYK" else "PNG"
        )
        for split in ("train", "test")
        for name in "ab"
        for index, image in enumerate(images)
    }
    pytest.importorskip("pillow_heif").register_heif_opener()  # to write it; the decoders load it on their own
    files |= {f"train/a/{name}": encode_as(name) for name in ("photo.heic", "photo.avif", "photo.tif", "photo.jfif")}
    assert add(root, write_zip(tmp_path / "modes.zip", files)).train_count == 16


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"size": 15}, BadOption),
        ({"size": 513}, BadOption),
        ({"fit": "stretch"}, BadOption),
        ({"on_unreadable": "guess"}, BadOption),
    ],
)
def test_options_are_checked(tmp_path: Path, root: Path, options: dict[str, Any], error: type[DatasetError]) -> None:
    with pytest.raises(error):
        add(root, write_tree(tmp_path / "pets", SPLIT), **options)


@pytest.mark.parametrize("source", ["/nowhere/at/all.zip", "torchvision:ImageNet", "torchvision:", "shapes"])
def test_unknown_sources(root: Path, source: str) -> None:
    with pytest.raises(UnknownSource):
        add_dataset(root, "set", source)


def test_a_cancelled_import_leaves_nothing(tmp_path: Path, root: Path) -> None:
    def cancel(done: int, total: int, what: str) -> None:
        if what == "decoding" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add(root, write_zip(tmp_path / "pets.zip", SPLIT), progress=cancel)
    assert list(root.iterdir()) == []


def test_data_is_read_and_made_without_torch() -> None:
    modules = "import trainer.data.fit, trainer.data.format, trainer.data.writer"
    sources = "from trainer.data.sources import shapes, source, torchvision"
    check = f"{modules}; {sources}; import sys; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], cwd=Path(__file__).parents[4], check=False)
    assert done.returncode == 0
