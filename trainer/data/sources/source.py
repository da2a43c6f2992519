"""Create a dataset from any source; used by the command line and by import tasks."""

from pathlib import Path
from typing import get_args

from trainer.data.errors import BadOption, UnknownSource
from trainer.data.format import FITS, LARGEST_SIZE, SMALLEST_SIZE, DatasetRecord, Fit, check_name
from trainer.data.sources.archive import ArchiveSource, Limits, check_archive
from trainer.data.sources.folder import FolderSource, check_folder
from trainer.data.sources.importer import import_images
from trainer.data.sources.labelled import Labelling
from trainer.data.sources.paths import is_folder
from trainer.data.sources.shapes import SIZE as SHAPES_SIZE
from trainer.data.sources.shapes import make_shapes100
from trainer.data.sources.torchvision import add_downloadable, downloadable
from trainer.spec.tasks import OnUnreadable
from trainer.system.controls import without_controls
from trainer.system.progress import Progress, silent

BUILT_IN = "shapes100"
TORCHVISION = "torchvision:"


def add_dataset(
    root: Path,
    name: str,
    source: str,
    *,
    size: int | None = None,
    fit: Fit = "crop",
    on_unreadable: OnUnreadable = "refuse",
    label: str | None = None,
    labelling: Labelling = Labelling(),
    download_base: str | None = None,
    limits: Limits = Limits(),
    processes: int | None = None,
    progress: Progress = silent,
) -> DatasetRecord:
    """Create the dataset `name` from `source`: "shapes100", "torchvision:CIFAR100", or the path of a folder or zip.

    If the name is taken, the record returned has another one, such as name@2. `label` is recorded as the source of a
    folder or zip, by default its file name; `labelling` says what decides on its classes besides folders. Raises
    DatasetError.
    """
    check_name(name)
    _check_options(source, size, fit, on_unreadable)
    if labelling != Labelling() and (source == BUILT_IN or source.startswith(TORCHVISION)):
        raise BadOption(f"A manifest and groups are for a folder or zip, not for {source}.", detail={})
    if labelling.group_level is not None and labelling.group_level < 1:
        raise BadOption("group_level is at least 1, the level of the outermost folders.", detail={})
    if source == BUILT_IN:
        return make_shapes100(root, name, processes=processes, progress=progress)
    if source.startswith(TORCHVISION):
        known = downloadable(source.removeprefix(TORCHVISION))
        return add_downloadable(root, name, known, size=size, fit=fit, base=download_base, progress=progress)
    path, folder = _find(source)
    progress(0, 1, "checking")
    return import_images(
        root,
        name,
        FolderSource(path, limits.entry_bytes) if folder else ArchiveSource(path),
        (check_folder if folder else check_archive)(path, limits, labelling=labelling),
        label=without_controls(label or path.resolve().name) or "upload",
        size=size,
        fit=fit,
        on_unreadable=on_unreadable,
        limits=limits,
        processes=processes,
        progress=progress,
    )


def _find(source: str) -> tuple[Path, bool]:
    """Return the path, and whether it is a folder. Raises UnknownSource, UnreadableSource."""
    try:
        path = Path(source).expanduser()
        return path, is_folder(path)
    except RuntimeError as error:  # the home of an unknown user
        raise UnknownSource(f"{source[:200]!r} is no path: {error}") from None
    except UnknownSource as error:
        raise UnknownSource(f"{error.message} Other sources are {BUILT_IN} and {TORCHVISION}NAME.") from None


def _check_options(source: str, size: int | None, fit: str, on_unreadable: str) -> None:
    if size is not None and not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise BadOption(f"size is a whole number from {SMALLEST_SIZE} to {LARGEST_SIZE}, in pixels.", {"size": size})
    if source == BUILT_IN and size not in (None, SHAPES_SIZE):
        raise BadOption(f"{BUILT_IN} is drawn at {SHAPES_SIZE}×{SHAPES_SIZE} only.", detail={"size": size})
    if fit not in FITS:
        raise BadOption(f"fit is one of {', '.join(FITS)}.", detail={"fit": fit})
    if on_unreadable not in get_args(OnUnreadable):
        raise BadOption("on_unreadable is refuse or skip.", detail={"on_unreadable": on_unreadable})
