"""Names of files in a folder or zip: which are images, which are left there by operating systems, which are refused."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from trainer.data.errors import BadLayout
from trainer.data.image_formats import ENDINGS

# Photos in formats that cannot be read, or under another ending: an import names them rather than passing over them.
_PHOTO_ENDINGS = (
    *ENDINGS,
    *(".jpe", ".jxl", ".jp2"),
    *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2"),
)
_DRAWING_ENDINGS = (".svg", ".psd", ".ico", ".eps")
_ENDING = re.compile(r"(?<=.)\.(?!\d+$)[0-9a-z]{1,8}$")

_JUNK = {
    *("__macosx", "icon\r", "desktop.ini", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "picasa.ini"),
    *("system volume information", "$recycle.bin", "@eadir", "#recycle", "lost+found"),
}
LONGEST_PATH = 1024
_MOST_FOLDERS = 64
_NAMED_PROBLEMS = 100
_NAMED_ENDINGS = 20

Parts = tuple[str, ...]


def is_junk(path: Parts) -> bool:
    """Return whether a file was made by an operating system or is hidden."""
    return any(part.startswith(".") or part.lower() in _JUNK for part in path)


def is_image(path: Parts) -> bool:
    """Return whether the name is that of an image, and not of an operating system's file."""
    return path[-1].lower().endswith(ENDINGS) and not is_junk(path)


def is_photo(name: str) -> bool:
    """Return whether the ending is one of a photo, including formats that cannot be read."""
    return name.lower().endswith(_PHOTO_ENDINGS)


def may_be_image(name: str) -> bool:
    """Return whether the name does not tell: it has no ending, or one of a drawing."""
    lowered = name.lower()
    return lowered.endswith(_DRAWING_ENDINGS) or not _ENDING.search(lowered)


def count_others(names: Iterable[str], images: Iterable[str]) -> dict[str, int]:
    """Count the names that are not among the images by their ending, such as ".txt", the most frequent first.

    "" stands for no ending, and for all endings that are rare.
    """
    counts = _count_endings(names) - _count_endings(images)
    named = dict(counts.most_common(_NAMED_ENDINGS))
    if rest := counts.total() - sum(named.values()):
        named[""] = named.get("", 0) + rest
    return named


def _count_endings(names: Iterable[str]) -> Counter[str]:
    found = (_ENDING.search(name.lower()) for name in names)
    return Counter(match[0] if match else "" for match in found)


def composed(name: str) -> str:
    """The name in Unicode's composed form (NFC): macOS writes "é" as two characters, other systems as one."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def refuse_deep(names: Iterable[str]) -> None:
    """Raises BadLayout: a name has too many folders. Splitting such names would take memory without bound."""
    raise_if_any(
        "Some names cannot be kept",
        [f"{name[:60]}…: in more than {_MOST_FOLDERS} folders" for name in names if name.count("/") > _MOST_FOLDERS],
    )


def refuse_names(paths: Iterable[Parts]) -> None:
    """Raises BadLayout: a name is too long, contains control characters or is not UTF-8."""
    raise_if_any("Some names cannot be kept", [problem for path in paths if (problem := _name_problem(path))])


def raise_if_any(message: str, problems: Sequence[str]) -> None:
    if problems:
        more = ", …" if len(problems) > 1 else "."
        raise BadLayout(f"{message}: {problems[0]}{more}", detail=named_problems(problems))


def named_problems(problems: Sequence[str]) -> list[str]:
    """The first problems, and how many more there are: an error is stored and sent to every open page."""
    more = len(problems) - _NAMED_PROBLEMS
    return [*problems[:_NAMED_PROBLEMS], f"and {more:,} more"] if more > 0 else list(problems)


def _name_problem(path: Parts) -> str | None:
    name = "/".join(path)
    if len(name) > LONGEST_PATH:
        return f"{name[:60]}…: longer than {LONGEST_PATH} characters"
    if not name.isprintable() and any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        return f"{name!r}: a control character, or not UTF-8"
    return None
