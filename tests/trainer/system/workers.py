"""Functions for the worker processes of the pool, which must be able to import them."""

import os
from collections.abc import Sequence
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


def squares(numbers: Sequence[int]) -> list[int]:
    return [number * number for number in numbers]


def die_at(numbers: Sequence[int]) -> list[int]:
    """Exit with code 7 at the first positive multiple of 7."""
    for number in numbers:
        if number and number % 7 == 0:
            os._exit(7)
    return list(numbers)


def complain_of(numbers: Sequence[int]) -> list[int]:
    raise ValueError(f"not {numbers[0]}")
