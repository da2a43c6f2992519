"""A path that is named as a dataset's source: it exists, is a folder or a regular file, and can be read."""

import os
import stat
from pathlib import Path

from trainer.data.errors import UnknownSource, UnreadableSource

_SHOWN = 200


def is_folder(path: Path) -> bool:
    """Return whether the path is a folder, or else a file. Raises UnknownSource, UnreadableSource.

    A pipe or a device is refused: reading it might never end.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            os.scandir(path).close()
            return True
        if stat.S_ISREG(mode):
            path.open("rb").close()
            return False
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the path
        raise UnknownSource(f"There is no folder or zip at {shown(path)}.") from None
    except OSError as error:
        raise cannot_read(path, error) from None
    raise UnknownSource(f"{shown(path)} is neither a folder nor a regular file.")


def cannot_read(path: Path, error: OSError) -> UnreadableSource:
    return UnreadableSource(f"{shown(path)} cannot be read: {error.strerror}.")


def shown(path: Path) -> str:
    text = str(path)
    text = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return text if text.isprintable() else ascii(text)
