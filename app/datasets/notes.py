"""What a dataset's statistics mean for a run, with the setting that helps: shown where a run is launched."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.data.format import DatasetRecord
from trainer.data.survey import Duplicates, Statistics

UNEVEN = 10.0  # times the smallest class
SHARE = 0.01  # of the images
NAMED = 3  # rarest classes
DARK = 0.25  # of the range of 16 bits: two of the eight bits that are stored are lost


@dataclass(frozen=True)
class Note:
    """`setting` and `value` are those of the launch form that help; "" if the dataset itself has to be changed."""

    message: str
    setting: str = ""
    value: str = ""
    label: str = ""


def notes(record: DatasetRecord, statistics: Statistics) -> tuple[Note, ...]:
    found = (
        _leak(record, statistics),
        _conflicts(record, statistics),
        _imbalance(record, statistics),
        dark(record),
    )
    return tuple(note for note in found if note is not None)


def _leak(record: DatasetRecord, statistics: Statistics) -> Note | None:
    held = sum(_held_out(group) for group in statistics.groups("across"))
    total = record.test_count + record.val_count
    if held < SHARE * total:
        return None
    message = f"{held:,} of {total:,} held-out images ({100 * held / total:.3g}%) are also in another split."
    return Note(message, "drop_duplicates", "true", "Leave duplicates out of training")


def _held_out(group: Duplicates) -> int:
    trained = any(twin.split == "train" for twin in group.images)
    return sum(twin.split != "train" for twin in group.images) if trained else 0


def _conflicts(record: DatasetRecord, statistics: Statistics) -> Note | None:
    conflicting = sum(len(group.images) for group in statistics.groups(conflict=True))
    total = record.train_count + record.test_count + record.val_count
    if conflicting < SHARE * total:
        return None
    return Note(
        f"{conflicting:,} of {total:,} images ({100 * conflicting / total:.3g}%) are identical to others with another "
        "label. Look at the conflicting labels on the dataset's page."
    )


def dark(record: DatasetRecord) -> Note | None:
    """Images of 16 bits that use little of their range, such as those of a 12-bit detector."""
    if not record.deep or record.deep_peak >= DARK:
        return None
    largest = f"{round(65535 * record.deep_peak):,} of 65,535"
    return Note(
        f"The {record.deep:,} images of 16 bits have values up to {largest}: they are stored dark, with few levels. "
        "Scale them to the whole range and import them again; images to predict need the same scaling."
    )


def _imbalance(record: DatasetRecord, statistics: Statistics) -> Note | None:
    counts = statistics.counts["train"]
    ratio = max(counts) / max(1, min(counts))
    if ratio < UNEVEN:
        return None
    rarest = sorted(range(len(counts)), key=counts.__getitem__)[:NAMED]
    names = ", ".join(f"{record.classes[index]} ({counts[index]:,})" for index in rarest)
    message = f"The most frequent class has {ratio:.3g} times as many training images as the rarest. Rarest: {names}."
    return Note(message, "class_weights", "balanced", "Use balanced class weights")
