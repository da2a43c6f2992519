"""Decode the images of a folder or zip on all cores, directly into the dataset's arrays."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, get_args

import numpy as np
from PIL import Image

from trainer.data.errors import ImageError, UnreadableImages
from trainer.data.fit import FORMATS, read_image
from trainer.data.format import SIZES, SPLITS, DatasetRecord, Fit, Split, images_file
from trainer.data.sources.archive import Limits
from trainer.data.sources.layout import Layout, Member, split_off_test
from trainer.data.sources.names import composed
from trainer.data.writer import DatasetWriter
from trainer.spec.tasks import OnUnreadable
from trainer.system.parallel import available_cores, map_unordered
from trainer.system.progress import Progress, silent

ON_UNREADABLE: tuple[OnUnreadable, ...] = get_args(OnUnreadable)
DEFAULT_SIZE = 64

_CHUNK = 100
_FEW = 64  # below this, starting processes costs more than it saves
_SAMPLES = 256
_NAMED_FILES = 100  # in an error, which is stored and sent to every open page


class ImageSource(Protocol):
    def read(self, member: str) -> bytes: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class BadFile:
    split: Split
    row: int
    path: str
    code: str
    reason: str


@dataclass(frozen=True)
class DecodeChunk:
    split: Split
    start: int
    paths: list[str]


@dataclass(frozen=True)
class Decoder:
    """Decodes a chunk of images into its rows of the array file. Returns the files that cannot be read."""

    source: ImageSource
    folder: Path
    size: int
    fit: Fit
    pixels: int

    def __call__(self, chunk: DecodeChunk) -> list[BadFile]:
        images = np.load(self.folder / images_file(chunk.split), mmap_mode="r+")
        bad = []
        for row, path in enumerate(chunk.paths, chunk.start):
            try:
                data = self.source.read(path)
                images[row] = read_image(data, self.size, self.fit, max_pixels=self.pixels)
            except ImageError as error:
                bad.append(BadFile(chunk.split, row, path, error.code, error.message))
        return bad


def import_images(
    root: Path,
    name: str,
    source: ImageSource,
    layout: Layout,
    *,
    label: str,
    size: int | None = None,
    fit: Fit = "crop",
    on_unreadable: OnUnreadable = "refuse",
    limits: Limits = Limits(),
    processes: int | None = None,
    progress: Progress = silent,
) -> DatasetRecord:
    """Create the dataset `name` from a folder or zip.

    Raises UnreadableImages, which names the first unreadable files: there are any and `on_unreadable` is "refuse", or a
    class would have no images left.
    """
    size = size or natural_size(source, layout)
    source.close()  # each process opens it again
    with DatasetWriter(root, name, size=size) as writer:
        for split in SPLITS:
            writer.create_images(split, len(layout.members[split]))
        decoder = Decoder(source, writer.folder, size, fit, limits.pixels)
        bad = _decode(decoder, layout, processes, progress)
        if bad and on_unreadable == "refuse":
            raise _unreadable(bad, layout.total)
        members = _keep_readable(writer, layout, bad) if bad else layout.members
        for split, kept in members.items():
            names = [composed(member.path) for member in kept]
            writer.set_labels(split, [member.label for member in kept], names)
        return writer.commit(
            classes=layout.classes,
            superclasses=layout.superclasses,
            fine_to_coarse=layout.fine_to_coarse,
            fit=fit,
            source=label,
            skipped=[(composed(file.path), file.reason) for file in bad],
            other_files=layout.other_files,
            progress=progress,
        )


def natural_size(source: ImageSource, layout: Layout) -> int:
    """The size of the images if a sample of them are all square and of one supported size, else DEFAULT_SIZE."""
    members = [member for split in SPLITS for member in layout.members[split]]
    step = -(-len(members) // _SAMPLES)
    sizes = {_stated_size(source, member) for member in members[::step]} - {None}
    agreed = sizes.pop() if len(sizes) == 1 else None
    return agreed[0] if agreed and agreed[0] == agreed[1] and agreed[0] in SIZES else DEFAULT_SIZE


def _stated_size(source: ImageSource, member: Member) -> tuple[int, int] | None:
    try:
        with Image.open(io.BytesIO(source.read(member.path)), formats=FORMATS) as image:
            return image.size
    except (ImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # decoding reports the error


def _decode(decoder: Decoder, layout: Layout, processes: int | None, progress: Progress) -> list[BadFile]:
    chunks = [
        DecodeChunk(split, start, [member.path for member in members[start : start + _CHUNK]])
        for split, members in layout.members.items()
        for start in range(0, len(members), _CHUNK)
    ]
    if processes is None:
        processes = available_cores() if layout.total > _FEW else 1
    bad: list[BadFile] = []
    done = 0
    progress(done, layout.total, "decoding")
    try:
        for chunk, bad_files in map_unordered(decoder, chunks, processes=processes):
            bad += bad_files
            done += len(chunk.paths)
            progress(done, layout.total, "decoding")
    finally:
        decoder.source.close()
    return sorted(bad, key=lambda file: (SPLITS.index(file.split), file.row))


def _unreadable(bad: Sequence[BadFile], total: int) -> UnreadableImages:
    return UnreadableImages(f"{len(bad):,} of {total:,} images cannot be read.", detail={**_named(bad), "total": total})


def _named(bad: Sequence[BadFile]) -> dict[str, Any]:
    """The detail of an error: the first files by name, and the number of all."""
    files = [{"file": file.path, "code": file.code, "reason": file.reason} for file in bad[:_NAMED_FILES]]
    return {"files": files, "unreadable": len(bad)}


def _keep_readable(writer: DatasetWriter, layout: Layout, bad: Sequence[BadFile]) -> dict[Split, list[Member]]:
    """Drop the rows of unreadable images. A test split that was drawn is drawn again, from the readable images.

    Raises UnreadableImages: a class would have no images left in a split.
    """
    unreadable = {(file.split, file.row) for file in bad}
    planned = [(split, row, member) for split in layout.members for row, member in enumerate(layout.members[split])]
    row_of = {member.path: row for row, (_, _, member) in enumerate(planned)}
    kept: dict[Split, list[Member]] = {split: [] for split in layout.members}
    for split, row, member in planned:
        if (split, row) not in unreadable:
            kept[split].append(member)
    if layout.seed is not None:
        pool = sorted(kept["train"] + kept["test"], key=lambda member: (member.label, member.path.split("/")))
        kept |= split_off_test(pool, layout.seed)
    _refuse_empty(kept, layout, bad)
    rows = {split: np.array([row_of[member.path] for member in members], np.int64) for split, members in kept.items()}
    writer.rearrange_images(rows)
    return kept


def _refuse_empty(kept: dict[Split, list[Member]], layout: Layout, bad: Sequence[BadFile]) -> None:
    for split, members in kept.items():
        emptied = sorted(set(range(len(layout.classes))) - {member.label for member in members})
        if emptied:
            names = [layout.classes[label] for label in emptied]
            raise UnreadableImages(
                f"Without the unreadable images some classes have none left in {split}: {names[0]}"
                f"{', …' if len(names) > 1 else '.'}",
                detail={"classes": names, **_named(bad)},
            )
