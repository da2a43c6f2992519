"""What a node needs to train a run: collected from the run's directory and its dataset's folder in the home."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from trainer.data.format import RECORD_FILE, read_record
from trainer.node.calls import PIECE, Beginning, Part
from trainer.node.news import NOT_SENT
from trainer.rundir.checkpoints import CheckpointInfo, best_checkpoint, last_checkpoint, remove_checkpoints
from trainer.rundir.events import attempts
from trainer.rundir.folder import RunDir
from trainer.rundir.spec import read_spec, weights_file
from trainer.system.hashing import file_sha256

SMALL = 64 << 10  # bytes; larger files travel as blobs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shipment:
    """`sources` are the files at home, by their hashes."""

    beginning: Beginning
    sources: dict[str, Path]


def collect(
    run_dir: Path, datasets: Path, attempt: int, claim: int, orphan_seconds: float, part: Part | None = None
) -> Shipment:
    """Collect the run for its new `attempt`. Raises DatasetMissing, and DatasetDamaged."""
    run, spec = RunDir(run_dir), read_spec(run_dir)
    name = spec.dataset.name
    known = {info.step: info for info in _checkpoints(run)}
    weights = {_relative(run, run.weights(step)): info.sha256 for step, info in known.items()}
    files: dict[str, bytes] = {}
    blobs = dict(weights)
    for path in _files(run, attempt, list(known)):
        relative = _relative(run, path)
        if path.stat().st_size <= SMALL:
            files[relative] = path.read_bytes()
        else:
            blobs[relative] = file_sha256(path)
    dataset = _dataset_files(datasets, name)
    sources = {sha: run.path / path for path, sha in blobs.items()}
    sources |= {sha: datasets / name / path for path, sha in dataset.items()}
    file = weights_file(spec)
    if file is not None and file.is_file():  # the trainer says what is wrong if it is missing
        sha = file_sha256(file)
        blobs[_relative(run, run.sent_weights / file.name)], sources[sha] = sha, file
    beginning = Beginning(run_dir.name, attempt, claim, files, blobs, name, dataset, orphan_seconds, part)
    return Shipment(beginning, sources)


def collect_part(
    run_dir: Path, datasets: Path, attempt: int, claim: int, orphan_seconds: float, part: Part
) -> Shipment:
    """Collect what a rank other than the first reads: it gets the weights from rank 0. Raises as `collect`."""
    run, name = RunDir(run_dir), read_spec(run_dir).dataset.name
    files = {_relative(run, path): path.read_bytes() for path in (run.committed, run.spec, run.dataset)}
    dataset = _dataset_files(datasets, name)
    beginning = Beginning(run_dir.name, attempt, claim, files, {}, name, dataset, orphan_seconds, part)
    return Shipment(beginning, {sha: datasets / name / path for path, sha in dataset.items()})


def _checkpoints(run: RunDir) -> list[CheckpointInfo]:
    """The best and the last checkpoint. Damaged ones are deleted, as the trainer does with them."""
    while True:
        found = [info for info in (best_checkpoint(run.path), last_checkpoint(run.path)) if info is not None]
        damaged = [info.step for info in found if file_sha256(run.weights(info.step)) != info.sha256]
        if not damaged:
            return found
        log.warning("%s: the checkpoints of steps %s are damaged, and deleted", run.path.name, damaged)
        remove_checkpoints(run.path, damaged)


def pieces(path: Path, offset: int = 0) -> list[tuple[int, int]]:
    """The pieces of a file from `offset` on, each as offset and size; one empty piece for an empty file."""
    total = path.stat().st_size
    starts = range(offset, total, PIECE)
    return [(start, min(PIECE, total - start)) for start in starts] or [(total, 0)]


def read_piece(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        return os.pread(file.fileno(), size, offset)


def _files(run: RunDir, attempt: int, steps: list[int]) -> list[Path]:
    """What the trainer reads, beside the weights: what was requested, decided and emitted, and the artifacts."""
    found = [run.committed, run.spec, run.dataset, run.journal, run.decisions, run.hold, run.initial_weights]
    found += [run.events(number) for number in attempts(run.path) if number < attempt]
    found += [run.sidecar(step) for step in steps]
    found += [path for path in run.artifacts.rglob("*") if path.name not in NOT_SENT and not path.name.startswith(".")]
    return [path for path in found if path.is_file()]


def _dataset_files(datasets: Path, name: str) -> dict[str, str]:
    record, folder = read_record(datasets, name), datasets / name
    found = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    # The record holds the hashes of the arrays; the rest is small.
    return {
        path.name: record.sha256.get(path.name) or file_sha256(path) for path in found if path.name != RECORD_FILE
    } | {RECORD_FILE: file_sha256(folder / RECORD_FILE)}


def _relative(run: RunDir, path: Path) -> str:
    return str(path.relative_to(run.path))
