"""The progress callback of long work: `progress(done, total, what)`."""

from collections.abc import Callable

Progress = Callable[[int, int, str], None]


def silent(done: int, total: int, what: str) -> None:
    """The progress callback that does nothing."""
