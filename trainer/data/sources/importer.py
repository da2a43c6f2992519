"""Decode the images of a folder or zip on all cores, directly into the dataset's arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, get_args

import numpy as np

from trainer.data.decoding import ConfinedReader, Fault, process_died
from trainer.data.errors import UnreadableImages
from trainer.data.format import SMALLEST_SIZE, SPLITS, DatasetRecord, Fit, Images, Split, images_file
from trainer.data.sources.archive import Limits
from trainer.data.sources.members import Layout, Member, draw_test, in_order
from trainer.data.sources.names import composed
from trainer.data.writer import DatasetWriter
from trainer.spec.tasks import OnUnreadable
from trainer.system.map_ordered import map_ordered
from trainer.system.parallel import available_cores
from trainer.system.progress import Progress, silent

ON_UNREADABLE: tuple[OnUnreadable, ...] = get_args(OnUnreadable)
DEFAULT_SIZE = 64
LARGEST_KEPT = 224  # px; images that are larger take much memory and time, and have to be asked for

_CHUNK = 100
_SAMPLES = 256
_NAMED = 100  # files and classes in an error, which is stored and sent to every open page


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


class Row(NamedTuple):
    """A file, and the row of the split's array that takes its pixels."""

    split: Split
    row: int
    path: str


@dataclass
class Decoder:
    """Decodes a chunk of images into their rows, in a worker process.

    Returns a Fault per file that cannot be read, the largest value of an image of 16 bits (see `deep_peak`), else None.
    """

    source: ImageSource
    folder: Path
    size: int
    fit: Fit
    reader: ConfinedReader
    _arrays: dict[Split, Images] = field(default_factory=dict)

    def __call__(self, chunk: Sequence[Row]) -> list[Fault | float | None]:
        if not self._arrays:  # mapped before the process is confined
            files = {split: self.folder / images_file(split) for split in SPLITS}
            self._arrays = {split: np.load(file, mmap_mode="r+") for split, file in files.items() if file.exists()}
        return [self._decode(row) for row in chunk]

    def _decode(self, row: Row) -> Fault | float | None:
        found = self.reader.measured(partial(self.source.read, row.path), self.size, self.fit)
        if isinstance(found, Fault):
            return found
        self._arrays[row.split][row.row], peak = found
        return peak


@dataclass(frozen=True)
class SizeReader:
    """Returns the width and height that a chunk of images state, in a worker process."""

    source: ImageSource
    reader: ConfinedReader

    def __call__(self, paths: Sequence[str]) -> list[tuple[int, int] | Fault]:
        return [self.reader.stated_size(partial(self.source.read, path)) for path in paths]


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
    source.close()  # each process opens it again
    reader = ConfinedReader(limits.pixels, limits.seconds)
    size = size or natural_size(source, layout, reader)
    with DatasetWriter(root, name, size=size) as writer:
        for split, members in layout.members.items():
            writer.create_images(split, len(members))
        decoder = Decoder(source, writer.folder, size, fit, reader)
        bad, peaks = _decode(decoder, layout, processes, progress)
        if bad and on_unreadable == "refuse":
            raise _unreadable(bad, layout.total)
        readable = _keep_readable(writer, layout, bad) if bad else layout.members
        for split, kept in readable.items():
            names = [composed(member.path) for member in kept]
            writer.set_labels(split, [member.label for member in kept], names)
            if layout.groups is not None:
                writer.set_groups(split, [member.group or 0 for member in kept])
            if layout.weighted and split == "train":
                writer.set_weights([member.weight for member in kept])
        return writer.commit(
            classes=layout.classes,
            superclasses=layout.superclasses,
            fine_to_coarse=layout.fine_to_coarse,
            fit=fit,
            source=label,
            test_drawn=layout.test_drawn,
            skipped=[(composed(file.path), file.reason) for file in bad],
            other_files=layout.other_files,
            groups=layout.groups,
            manifest=layout.manifest,
            deep_peaks=peaks,
            progress=progress,
        )


def natural_size(source: ImageSource, layout: Layout, reader: ConfinedReader) -> int:
    """The side of the images if a sample of them are squares of one size up to LARGEST_KEPT, else DEFAULT_SIZE."""
    members = [member for split in SPLITS for member in layout.members.get(split, [])]
    step = -(-len(members) // _SAMPLES)
    sample = [member.path for member in members[::step]]
    ((_, stated),) = map_ordered(SizeReader(source, reader), [sample], process_died, processes=1)
    sizes = {size for size in stated if not isinstance(size, Fault)}  # decoding reports the faults
    agreed = sizes.pop() if len(sizes) == 1 else None
    is_kept = agreed is not None and agreed[0] == agreed[1] and SMALLEST_SIZE <= agreed[0] <= LARGEST_KEPT
    return agreed[0] if agreed is not None and is_kept else DEFAULT_SIZE


def _decode(
    decoder: Decoder, layout: Layout, processes: int | None, progress: Progress
) -> tuple[list[BadFile], list[float]]:
    """Decode in processes of their own, however few the images are: one that cannot be decoded may end its process.

    Returns the files that cannot be read, and the largest value of each image of 16 bits.
    """
    rows = [Row(split, row, item.path) for split, items in layout.members.items() for row, item in enumerate(items)]
    chunks = (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK))
    bad: list[BadFile] = []
    peaks: list[float] = []
    done = 0
    progress(done, layout.total, "decoding")
    processes = processes or min(available_cores(), -(-len(rows) // _CHUNK))
    for chunk, found in map_ordered(decoder, chunks, process_died, processes=processes):
        bad += [
            BadFile(*row, fault.code, fault.message)
            for row, fault in zip(chunk, found, strict=True)
            if isinstance(fault, Fault)
        ]
        peaks += [peak for peak in found if isinstance(peak, float)]
        done += len(chunk)
        progress(done, layout.total, "decoding")
    return bad, peaks


def _unreadable(bad: Sequence[BadFile], total: int) -> UnreadableImages:
    return UnreadableImages(f"{len(bad):,} of {total:,} images cannot be read.", detail={**_named(bad), "total": total})


def _named(bad: Sequence[BadFile]) -> dict[str, Any]:
    """The detail of an error: the first files by name, and the number of all."""
    files = [{"file": file.path, "code": file.code, "reason": file.reason} for file in bad[:_NAMED]]
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
        kept |= draw_test(in_order(kept["train"] + kept["test"]), layout.seed)
    _refuse_empty(kept, layout, bad)
    rows = {split: np.array([row_of[member.path] for member in members], np.int64) for split, members in kept.items()}
    writer.rearrange_images(rows)
    return kept


def _refuse_empty(kept: dict[Split, list[Member]], layout: Layout, bad: Sequence[BadFile]) -> None:
    for split, members in kept.items():
        emptied = sorted(set(range(len(layout.classes))) - {member.label for member in members})
        may_lack = split == "val" or (split == "test" and layout.test_drawn and layout.groups is not None)
        if emptied and not (may_lack and members):
            names = [layout.classes[label] for label in emptied]
            raise UnreadableImages(
                f"Without the unreadable images some classes have none left in {split}: {names[0]}"
                f"{', …' if len(names) > 1 else '.'}",
                detail={"classes": names[:_NAMED], "emptied": len(names), **_named(bad)},
            )
