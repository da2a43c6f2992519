"""Classification of many image files with a small network: ordered results, even if decoding processes are killed."""

from __future__ import annotations

import io
import itertools
import os
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import orjson
import psutil
import pytest
import torch
from PIL import Image

from tests.app.predictor.predict_home import SIZE, encode, make_dataset, make_run, random_image
from tests.processes import children_with
from trainer.data.decoding import ConfinedReader, Fault
from trainer.data.errors import BadArchive, UnreadableImage
from trainer.data.format import DatasetRecord
from trainer.data.image_formats import NAMES
from trainer.data.sources.archive import ZipEntry, check_images
from trainer.inference.batch_predict import BATCH, CsvWriter, FileResult, JsonLinesWriter, predict_files
from trainer.inference.classifier import Classifier
from trainer.inference.decoding import CHUNK, FileDecoder, decoded
from trainer.inference.ensemble import open_runs
from trainer.inference.image_files import ImageFile, open_paths

Model = tuple[Classifier, DatasetRecord]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    home = tmp_path_factory.mktemp("home")
    make_dataset(home)
    return open_runs([make_run(home, "0123456789")], home / "datasets", torch.device("cpu"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 images in folders, two of them broken, and a text."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(70):
        data = encode(random_image(number))
        path = folder / f"{number % 3}" / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes({20: b"no image", 41: data[:80]}.get(number, data))
    (folder / "notes.txt").write_text("no image")
    return folder


def found_in(model: Model, files: Iterator[ImageFile] | list[ImageFile]) -> list[FileResult]:
    return [result for results in predict_files(*model, files, 3) for result in results]


def test_every_file_is_answered_in_its_place(model: Model, photos: Path) -> None:
    results = found_in(model, [*open_paths([photos])[0], *open_paths([photos / "gone.png"])[0]])
    names = sorted(str(path) for path in photos.rglob("*.*"))
    assert [result.name for result in results] == [*names, str(photos / "gone.png")]
    faulty = {Path(result.name).stem: result.fault.code for result in results if result.fault is not None}
    assert faulty == dict.fromkeys(("20", "41", "notes", "gone"), "unreadable_image")
    classifier, _ = model
    for result in results:
        if result.fault is None:
            (alone,) = classifier.predict(random_image(int(Path(result.name).stem))[None], 3)
            assert [item.index for item in result.predictions] == [item.index for item in alone]
            assert result.predictions[0].probability == pytest.approx(alone[0].probability, abs=1e-4)


def decoders() -> list[psutil.Process]:
    return children_with("--multiprocessing-fork")


def killing(files: Iterator[ImageFile], at: int) -> Iterator[ImageFile]:
    for number, file in enumerate(files):
        if number == at:
            decoders()[0].kill()
        yield file


def test_a_decoder_killed_in_the_middle_costs_no_image(model: Model, photos: Path) -> None:
    """At worst, the image that was being decoded has to be tried twice."""
    before = found_in(model, iter(open_paths([photos])[0]))
    after = found_in(model, killing(iter(open_paths([photos])[0]), at=2 * CHUNK))
    assert [result.name for result in after] == [result.name for result in before]
    assert [result.predictions for result in after] == [result.predictions for result in before]


def test_an_image_that_takes_too_long_is_lost_alone(tmp_path: Path) -> None:
    slow = encode(Image.new("RGBA", (4000, 4000), (1, 2, 3, 4)), "PNG", compress_level=1)
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(slow if number == 1 else encode(random_image(number)))
    decoder = FileDecoder(SIZE, "crop", ConfinedReader(seconds=0.05))
    (found,) = decoded(iter(open_paths([tmp_path])[0]), decoder, lambda: False)
    assert [isinstance(item, Fault) for _, item in found] == [False, True, False, False]
    assert found[1][1] == Fault("unreadable_image", "The image takes too long to decode.")


def test_an_endless_stream_is_read_as_it_is_answered_and_can_be_left(model: Model, photos: Path) -> None:
    (good,) = open_paths([photos / "1" / "01.png"])[0]
    asked = 0

    def endless() -> Iterator[ImageFile]:
        nonlocal asked
        while True:
            asked += 1
            yield good

    with closing(predict_files(*model, endless(), 1)) as batches:
        for results in itertools.islice(batches, 2):
            assert len(results) == BATCH
        family = decoders()
        assert family
    assert asked < 8 * BATCH
    assert psutil.wait_procs(family, 5)[1] == []


def test_a_zips_entries_are_read_where_they_lie(tmp_path: Path) -> None:
    data = [encode(random_image(number)) for number in range(3)]
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__MACOSX/._a.png", b"")
        archive.writestr("notes.txt", "not an image")
        archive.writestr("a.png", data[0], zipfile.ZIP_STORED)
        archive.writestr("deep/er/b.PNG", data[1], zipfile.ZIP_DEFLATED)
        archive.writestr("c.png", b"", zipfile.ZIP_DEFLATED)
    path.write_bytes(b"a program that unpacks itself" + path.read_bytes())
    entries = check_images(path)
    assert [entry.name for entry in entries] == ["notes.txt", "a.png", "deep/er/b.PNG", "c.png"]
    entries = entries[1:]
    fd = os.open(path, os.O_RDONLY)
    assert [entry.read(fd) for entry in entries] == [data[0], data[1], b""]
    for entry in (
        ZipEntry("x", 3, 10, 10, 0, 0),
        ZipEntry("x", 1 << 40, 10, 10, 0, 0),
        ZipEntry("x", entries[0].offset, entries[0].packed, entries[0].size, 8, entries[0].crc),
        ZipEntry("x", entries[0].offset, entries[0].packed, entries[0].size, 0, 1),
        ZipEntry("x", entries[1].offset, entries[1].packed, 10, 8, entries[1].crc),
    ):
        with pytest.raises(UnreadableImage):
            entry.read(fd)
    os.close(fd)


def test_folder_and_zip_give_every_file_but_what_systems_leave_behind(tmp_path: Path) -> None:
    files = ["a.jfif", "b", "c.heic", "d.tif", "e.avif", "f.png", "inner/g.xyz"]
    junk = [".DS_Store", "._f.png", ".thumbnails/f.png", "Thumbs.db", "__MACOSX/f.png", "inner/._g.png"]
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in (*files, *junk):
            archive.writestr(name, b"x")
            path = tmp_path / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    (tmp_path / "photos" / "link.png").symlink_to(tmp_path / "nowhere.png")
    folder, zipped = open_paths([tmp_path / "photos", tmp_path / "photos.zip"])
    assert [file.name for file in zipped] == [f"{tmp_path}/photos.zip/{name}" for name in files]
    assert [file.name for file in folder] == [f"{tmp_path}/photos/{name}" for name in (*files, "link.png")]


def test_a_zip_of_images_without_endings_is_taken(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("IMG 1", encode(random_image(1)))
    assert len(check_images(tmp_path / "photos.zip")) == 1


def test_a_zip_without_images_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("notes.txt", "no image")
    with pytest.raises(BadArchive, match="no images"):
        open_paths([tmp_path / "empty.zip"])


def test_results_are_written_as_rows_and_as_objects(model: Model, tmp_path: Path) -> None:
    names = [b"good.png", b"with,comma \xff\x1b[31m.png"]
    for name, data in zip(names, (encode(random_image(1)), b"no image"), strict=True):
        (tmp_path / os.fsdecode(name)).write_bytes(data)
    results = found_in(model, iter(open_paths([tmp_path])[0]))
    rows, lines = io.StringIO(), io.StringIO()
    CsvWriter(rows).write(results)
    JsonLinesWriter(lines).write(results)
    head, first, *_, last = rows.getvalue().encode().decode().splitlines()
    assert head == "file,rank,label,probability,error"
    assert first.startswith(f"{tmp_path}/good.png,1,{results[0].predictions[0].label},0.")
    assert last == f'"{tmp_path}/with,comma \ufffd\\x1b[31m.png",,,,"This is not an image; {NAMES} are read."'
    formula = io.StringIO(newline="")
    CsvWriter(formula).write([FileResult("=HYPERLINK(1).png", [replace(results[0].predictions[0], label="+1")])])
    assert formula.getvalue().splitlines()[1].startswith("'=HYPERLINK(1).png,1,'+1,0.")
    good, bad = (orjson.loads(line) for line in lines.getvalue().splitlines())
    assert [item["label"] for item in good["predictions"]] == [item.label for item in results[0].predictions]
    assert set(good["predictions"][0]) == {"label", "index", "probability", "superclass"}
    assert bad["error"]["code"] == "unreadable_image"
