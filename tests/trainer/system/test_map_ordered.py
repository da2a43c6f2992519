from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.trainer.system.workers import complain_of, die_at, squares
from trainer.system.map_ordered import CHUNKS_PER_PROCESS, map_ordered


def lost(exit_code: int) -> int:
    return -exit_code


def chunks(count: int, size: int = 4) -> list[list[int]]:
    return [list(range(start, start + size)) for start in range(0, count * size, size)]


def test_results_come_in_the_order_of_the_items() -> None:
    found = list(map_ordered(squares, chunks(9), lost, processes=2))
    assert [chunk for chunk, _ in found] == chunks(9)
    assert [number for _, results in found for number in results] == [n * n for n in range(36)]


def test_a_death_costs_the_item_that_it_comes_of_and_no_other() -> None:
    found = [number for _, results in map_ordered(die_at, chunks(5), lost, processes=2) for number in results]
    assert found == [n if n % 7 or not n else -7 for n in range(20)]


def test_an_error_in_the_work_is_raised_here() -> None:
    with pytest.raises(ValueError, match="not 1"):
        list(map_ordered(complain_of, [[1]], lost, processes=1))


def test_an_endless_stream_is_read_as_its_results_are_taken() -> None:
    asked = 0

    def endless() -> Iterator[list[int]]:
        nonlocal asked
        for number in itertools.count():
            asked += 1
            yield [number]

    stream = map_ordered(squares, endless(), lost, processes=2)
    for taken in range(20):
        assert next(stream) == ([taken], [taken * taken])
        assert asked <= taken + 1 + 2 * CHUNKS_PER_PROCESS
    stream.close()


def test_it_ends_once_it_is_stopped() -> None:
    stream = map_ordered(squares, ([n] for n in itertools.count()), lost, processes=1, stopped=lambda: True)
    assert list(stream) == []
