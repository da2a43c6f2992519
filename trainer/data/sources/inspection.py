"""Checks an upload or a path in a process of its own, for the web process.

The directory of a zip may have a million entries: the process that reads it returns its memory, and takes no time from
the event loop. On a path whose disk does not answer, only that process waits.
"""

import json
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from trainer.data.errors import (
    BadArchive,
    BadLayout,
    BadManifest,
    BadOption,
    DatasetError,
    UnknownSource,
    UnreadableSource,
)
from trainer.data.sources.paths import is_folder, shown

Contents = Literal["dataset", "images"]

_ZIP_SECONDS = 300.0
_PATH_SECONDS = 10.0
_KILL_SECONDS = 1.0
_MEMORY_BYTES = 4 << 30
_ERRORS: dict[str, type[DatasetError]] = {
    error.code: error for error in (BadArchive, BadLayout, BadManifest, BadOption, UnknownSource, UnreadableSource)
}


def inspect_zip(contents: Contents, path: Path, labelling: dict[str, Any] | None = None) -> None:
    """Check a zip of a dataset or of images to classify. `labelling` holds the fields of a Labelling, as in JSON.

    Raises BadArchive, BadLayout, BadManifest, BadOption, UnreadableSource.
    """
    _inspect(contents, path, _ZIP_SECONDS, labelling)


def inspect_path(path: Path, seconds: float = _PATH_SECONDS) -> bool:
    """Return whether the path is a folder, or else a file. Raises UnknownSource, UnreadableSource."""
    return bool(_inspect("path", path, seconds))


def _inspect(check: str, path: Path, seconds: float, labelling: dict[str, Any] | None = None) -> Any:
    command = [sys.executable, "-m", "trainer.data.sources.inspection", check, str(path), json.dumps(labelling or {})]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        answer, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        with suppress(subprocess.TimeoutExpired):  # one that waits for a disk ends only once the disk answers
            process.wait(_KILL_SECONDS)
        raise UnreadableSource(f"{shown(path)} could not be checked within {seconds:.0f} s.") from None
    finally:
        process.stdout.close()
    if process.returncode != 0:
        raise BadArchive("The zip cannot be checked: its directory takes too much memory.", detail=[])
    value, error = json.loads(answer)
    if error is not None:
        raise _ERRORS[error["code"]](error["message"], error["detail"])
    return value


def main(check: str, path: Path, labelling: dict[str, Any]) -> None:
    """Write, as JSON, what the check returned and the error that it raised."""
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    value, error = None, None
    try:
        if check == "path":
            value = is_folder(path)
        else:
            from trainer.data.sources.archive import check_archive, check_images  # numpy, which takes time to load
            from trainer.data.sources.labelled import Labelling

            if check == "dataset":
                check_archive(path, labelling=Labelling.of(labelling))
            else:
                check_images(path)
    except DatasetError as found:
        error = found.as_dict()
    sys.stdout.write(json.dumps([value, error]))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]))
