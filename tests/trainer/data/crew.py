"""Work for spread(): it must be importable by the processes that do it."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Batch:
    paths: list[str]


def squared(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def complain(number: int) -> int:
    raise ValueError(f"not {number}")


def die(batch: Batch) -> None:
    os._exit(7)
