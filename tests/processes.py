"""The processes that run beside a test."""

from contextlib import suppress

import psutil


def children_with(word: str, of: int | None = None, *, recursive: bool = False) -> list[psutil.Process]:
    """Return the child processes that have `word` in their command line, without those that have just ended.

    `of` is the pid of the parent: the test's own process if None.
    """
    found = []
    for child in psutil.Process(of).children(recursive=recursive):
        with suppress(psutil.NoSuchProcess):  # a zombie too
            if word in child.cmdline():
                found.append(child)
    return found
